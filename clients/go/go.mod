module plugin-server/clients/go

go 1.19
