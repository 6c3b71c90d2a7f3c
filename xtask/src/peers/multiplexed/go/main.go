// Command peers is both ends of the tests with gRPC and HTTP/2 clients in Go: a gRPC server, gRPC clients that look at every
// kind of call, and a web client that goes on until it is told to stop. What a client has found is its last line, in JSON;
// what is wrong is an error.
package main

import (
	"encoding/json"
	"fmt"
	"os"
)

var commands = map[string]func([]string) error{
	"serve":    serve,
	"kinds":    kinds,
	"deadline": deadline,
	"refused":  refused,
	"many":     many,
	"load":     load,
	"web":      web,
}

func main() {
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "peers serve|kinds|deadline|refused|many|load|web ARGUMENTS")
		os.Exit(2)
	}
	if err := commands[os.Args[1]](os.Args[2:]); err != nil {
		fmt.Fprintf(os.Stderr, "peers %s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
}

func report(found any) error {
	return json.NewEncoder(os.Stdout).Encode(found)
}
