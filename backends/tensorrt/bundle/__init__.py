"""What is copied into every bundle as it is: the files run where pruna-ir is not installed."""
