// Marks the module's root. The builds read the file of their version instead: go build -modfile=v0.7.0.mod
module starling/memberlist-peer

go 1.24
