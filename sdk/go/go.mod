module heddle

go 1.27
