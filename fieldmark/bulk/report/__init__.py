"""Write one HTML page that shows what a job found."""
