module tariff

go 1.27

require heddle v0.1.0

replace heddle => ../../../sdk/go
