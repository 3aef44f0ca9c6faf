// Sends a greeting and prints what the server answers.
//
//	go run hello.go [PORT]                       the default is 8888
package main

import (
	"fmt"
	"io"
	"log"
	"net"
	"os"
)

func main() {
	port := "8888"
	if len(os.Args) > 1 {
		port = os.Args[1]
	}
	connection, err := net.Dial("tcp", "127.0.0.1:"+port)
	if err != nil {
		log.Fatal(err)
	}
	defer connection.Close()
	if _, err := connection.Write([]byte("Hello, Server!")); err != nil {
		log.Fatal(err)
	}
	// FIN: that was all. Only a TCPConn can end one direction.
	if err := connection.(*net.TCPConn).CloseWrite(); err != nil {
		log.Fatal(err)
	}
	if _, err := io.Copy(os.Stdout, connection); err != nil { // to the end
		log.Fatal(err)
	}
	fmt.Println()
}
