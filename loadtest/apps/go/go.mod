module warmfront/loadtest/apps/go

go 1.19
