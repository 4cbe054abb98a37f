"""Look inside a finished run: what its network sees, where it errs, and what its photos lack."""
