"""Attribution: which pixels speak for a label, by many methods, and which method to trust."""
