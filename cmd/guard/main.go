// Guard owns the routing of a migration: it serves its API, and it is the tool
// that containers and the operator's command use on the edge's side.
package main

import "os"

func main() {
	os.Exit(run(os.Args[1:], streams{in: os.Stdin, out: os.Stdout, err: os.Stderr}, os.Getenv))
}
