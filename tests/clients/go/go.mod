module warmfront/clients

go 1.19
