// Echoes framed messages, each client in its own goroutine.
//
//	go run framed_server.go [PORT]       default 8888; 0 is any free port
//
// A frame is a length N (4 bytes, big endian), a kind (1 byte) and a payload.
// N counts the kind and the payload: 1 <= N <= 65536.
package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"time"
)

const (
	maxLength = 65536
	echo      = 0x01
	echoReply = 0x81
	failure   = 0x7f // ERROR: a code and a text
)

func appendFrame(out []byte, kind byte, payload []byte) []byte {
	out = binary.BigEndian.AppendUint32(out, uint32(1+len(payload)))
	return append(append(out, kind), payload...)
}

// reply takes all whole frames off input. It returns the replies and the
// rest, with ok false after a bad length: then no frame can be found.
func reply(input []byte) (out, rest []byte, ok bool) {
	for len(input) >= 4 {
		n := binary.BigEndian.Uint32(input) // a claim: check it first
		switch {
		case n == 0:
			return appendFrame(out, failure, []byte("\x02length 0")), nil, false
		case n > maxLength:
			return appendFrame(out, failure, []byte("\x01too long")), nil, false
		case uint32(len(input)-4) < n:
			return out, input, true // more of it is on its way
		case input[4] == echo:
			out = appendFrame(out, echoReply, input[5:4+n])
		default:
			out = appendFrame(out, failure, []byte("\x03unknown kind"))
		}
		input = input[4+n:]
	}
	return out, input, true
}

// serve returns why the connection ended: io.EOF if the client ended it.
func serve(connection net.Conn) error {
	defer connection.Close()
	buffer := make([]byte, 4+maxLength) // room for the largest frame
	used := 0
	for {
		n, readErr := connection.Read(buffer[used:])
		out, rest, ok := reply(buffer[:used+n])
		if _, err := connection.Write(out); err != nil { // all in one
			return err
		}
		if !ok {
			// A close with bytes unread sends RST, and the client may lose
			// the ERROR: so FIN first, and discard for one second in all.
			connection.(*net.TCPConn).CloseWrite()
			connection.SetReadDeadline(time.Now().Add(time.Second))
			io.Copy(io.Discard, connection)
			return errors.New("a bad length")
		}
		if readErr != nil {
			return readErr
		}
		used = copy(buffer, rest)
	}
}

func main() {
	port := "8888"
	if len(os.Args) > 1 {
		port = os.Args[1]
	}
	// Go sets SO_REUSEADDR and TCP_NODELAY, and takes the largest backlog
	// that the kernel allows.
	listener, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("listening on", listener.Addr())
	for {
		connection, err := listener.Accept()
		if err != nil {
			log.Print(err)
			// No descriptor left: without a pause we would spin.
			time.Sleep(100 * time.Millisecond)
			continue
		}
		go func() {
			log.Print(connection.RemoteAddr(), ": ", serve(connection))
		}()
	}
}
