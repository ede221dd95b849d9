"""What runs inside the child process, with nothing but the standard library."""
