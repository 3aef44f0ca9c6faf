// Step 2 server: log.Printf writes `listening on …` to stderr, with a time in front.
package main

import (
	"io"
	"log"
	"net"
	"os"
)

func main() {
	l, err := net.Listen("tcp", os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	log.Printf("listening on %s", l.Addr())
	for {
		c, err := l.Accept()
		if err != nil {
			continue
		}
		io.Copy(c, c)
		c.Close()
	}
}
