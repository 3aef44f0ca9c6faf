// Sends each TEXT in a frame, and prints the replies, a line each.
//
//	go run framed_client.go PORT [TEXT]...
//
// A frame is a length N (4 bytes, big endian), a kind (1 byte) and a payload.
// N counts the kind and the payload: 1 <= N <= 65536.
package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"log"
	"net"
	"os"
)

const (
	maxLength = 65536
	echo      = 0x01
	echoReply = 0x81
	failure   = 0x7f // ERROR: a code and a text
)

// send sends the frames and FIN. If it fails, replies will be missing, and
// that is reported.
func send(connection *net.TCPConn, texts []string) {
	for _, text := range texts {
		frame := binary.BigEndian.AppendUint32(nil, uint32(1+len(text)))
		frame = append(append(frame, echo), text...)
		if _, err := connection.Write(frame); err != nil {
			return
		}
	}
	connection.CloseWrite()
}

// receive returns the payload of the next reply, or io.EOF if the server has
// ended after the one before.
func receive(reader io.Reader) ([]byte, error) {
	var header [4]byte
	if _, err := io.ReadFull(reader, header[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(header[:])
	if n == 0 || n > maxLength { // before it costs any memory
		return nil, fmt.Errorf("the length is %d", n)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(reader, body); err != nil {
		return nil, fmt.Errorf("cut short: %w", err)
	}
	switch kind, payload := body[0], body[1:]; kind {
	case echoReply:
		return payload, nil
	case failure: // %.201q: not all of it, and nothing that a terminal obeys
		return nil, fmt.Errorf("the server answered error %.201q", payload)
	default:
		return nil, fmt.Errorf("the kind is %#02x", kind)
	}
}

// talk sends in a goroutine of its own: if nobody read the replies meanwhile,
// the server could not write them, would stop reading, and all would wait.
func talk(connection *net.TCPConn, texts []string) error {
	go send(connection, texts)
	reader := bufio.NewReader(connection)
	for received := 0; ; received++ {
		payload, err := receive(reader)
		switch {
		case err == io.EOF && received == len(texts):
			return nil
		case err != nil:
			return fmt.Errorf("reply %d of %d: %w", received+1, len(texts), err)
		case received == len(texts):
			return fmt.Errorf("a reply to no message")
		}
		if _, err := os.Stdout.Write(append(payload, '\n')); err != nil {
			return err
		}
	}
}

func main() {
	log.SetFlags(0)
	if len(os.Args) < 2 {
		log.Fatal("usage: framed_client PORT [TEXT]...")
	}
	texts := os.Args[2:]
	for _, text := range texts {
		if len(text) > maxLength-1 {
			log.Fatalf("a TEXT has more than %d bytes", maxLength-1)
		}
	}
	connection, err := net.Dial("tcp", "127.0.0.1:"+os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	if err := talk(connection.(*net.TCPConn), texts); err != nil {
		log.Fatal(err)
	}
}
