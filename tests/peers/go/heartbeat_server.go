// Answers framed messages, and asks a silent client for a sign of life.
//
//	go run heartbeat_server.go [PORT]    default 8888; 0 is any free port
//
// A frame is a length N (4 bytes, big endian), a kind (1 byte) and a payload.
// N counts the kind and the payload: 1 <= N <= 65536.
package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"strconv"
	"sync"
	"time"
)

const (
	maxLength = 65536
	echo      = 0x01
	ping      = 0x02
	work      = 0x05
	failure   = 0x7f // ERROR: a code and a text
	reply     = 0x80 // a reply has the kind of its request and this bit
)

var (
	heartbeat  = setting("TCP_HEARTBEAT_MS", 5000) // silence before a PING
	frameLimit = setting("TCP_FRAME_MS", 10000)    // first byte to last
	writeLimit = setting("TCP_WRITE_MS", 10000)    // until some bytes leave
)

func setting(name string, preset int) time.Duration {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		preset = n
	}
	return time.Duration(preset) * time.Millisecond
}

// refused is the payload of the ERROR that ends the connection.
type refused string

func (r refused) Error() string { return string(r[1:]) }

type client struct {
	*net.TCPConn
	frameEnd time.Time // zero between two frames
	writing  sync.Mutex
	replies  chan pending
	room     chan struct{} // holds one for each KiB of replies that wait
}

type pending struct {
	ready   time.Time
	kind    byte
	payload []byte
}

// Read asks a client that is silent for a sign of life: any byte is one. Only
// the time in which it reads counts.
func (c *client) Read(buffer []byte) (int, error) {
	beat, asked := time.Now().Add(heartbeat), false
	for {
		end := beat
		if !c.frameEnd.IsZero() && c.frameEnd.Before(end) {
			end = c.frameEnd
		}
		n, err := c.readUntil(end, buffer)
		switch {
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return n, err
		case end == c.frameEnd:
			return 0, refused("\x05a frame was not whole in time")
		case asked:
			return 0, errors.New("no sign of life in time")
		}
		beat, asked = time.Now().Add(2*heartbeat), true
		if err := c.write(ping, make([]byte, 8)); err != nil {
			return 0, err
		}
	}
}

// readUntil looks twice. When this program was stopped (Ctrl-Z), the first
// timer can fire before we see what came meanwhile. The second one cannot.
func (c *client) readUntil(end time.Time, buffer []byte) (int, error) {
	c.SetReadDeadline(end)
	n, err := c.TCPConn.Read(buffer)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.SetReadDeadline(time.Now().Add(time.Millisecond))
		n, err = c.TCPConn.Read(buffer)
	}
	return n, err
}

// write sends a frame in pieces: a client that reads slowly gets time for
// each. No other frame must come between them.
func (c *client) write(kind byte, payload []byte) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	out := binary.BigEndian.AppendUint32(nil, uint32(1+len(payload)))
	out = append(append(out, kind), payload...)
	for len(out) > 0 {
		n := len(out)
		if n > 8192 {
			n = 8192
		}
		c.SetWriteDeadline(time.Now().Add(writeLimit))
		if _, err := c.TCPConn.Write(out[:n]); err != nil {
			c.SetLinger(0) // it does not read, or it is gone: reset
			c.Close()      // ends the other goroutine's Read, too
			return err
		}
		out = out[n:]
	}
	return nil
}

// receive returns the next frame.
func (c *client) receive(reader *bufio.Reader) (byte, []byte, error) {
	if _, err := reader.Peek(1); err != nil {
		return 0, nil, err
	}
	c.frameEnd = time.Now().Add(frameLimit)
	defer func() { c.frameEnd = time.Time{} }()
	var header [4]byte
	if _, err := io.ReadFull(reader, header[:]); err != nil {
		return 0, nil, err
	}
	switch n := binary.BigEndian.Uint32(header[:]); {
	case n == 0:
		return 0, nil, refused("\x02length 0")
	case n > maxLength: // before it costs any memory
		return 0, nil, refused("\x01too large")
	default:
		body := make([]byte, n)
		_, err := io.ReadFull(reader, body)
		return body[0], body[1:], err
	}
}

// listen answers each frame, until the client ends its direction.
func (c *client) listen() error {
	reader := bufio.NewReader(c)
	for {
		kind, payload, err := c.receive(reader)
		switch {
		case err != nil:
			return err
		case kind == ping && len(payload) == 8:
			// At once, whatever replies wait.
			if err := c.write(ping|reply, payload); err != nil {
				return err
			}
		case kind != ping|reply: // which has told that the client lives
			c.queue(answer(kind, payload))
		}
	}
}

func answer(kind byte, payload []byte) pending {
	now := time.Now()
	switch kind {
	case echo:
		return pending{now, echo | reply, payload}
	case work:
		if len(payload) < 4 || binary.BigEndian.Uint32(payload) > 10_000 {
			return pending{now, failure, []byte("\x04bad WORK")}
		}
		delay := time.Duration(binary.BigEndian.Uint32(payload))
		return pending{now.Add(delay * time.Millisecond), work | reply, payload[4:]}
	case ping:
		return pending{now, failure, []byte("\x04bad PING")}
	}
	return pending{now, failure, []byte("\x03unknown kind")}
}

// queue waits while too many bytes of replies wait.
func (c *client) queue(p pending) {
	for i := 0; i <= len(p.payload)/1024; i++ {
		c.room <- struct{}{}
	}
	c.replies <- p
}

// reply sends the replies in order, each when it is ready.
func (c *client) reply(done chan<- error) {
	var err error
	for p := range c.replies {
		if err == nil {
			time.Sleep(time.Until(p.ready))
			err = c.write(p.kind, p.payload)
		}
		for i := 0; i <= len(p.payload)/1024; i++ {
			<-c.room
		}
	}
	done <- err
}

func serve(connection *net.TCPConn) error {
	defer connection.Close()
	// In a larger buffer there may be no room for more until a slow client has
	// read for seconds, although it reads all the time.
	connection.SetWriteBuffer(64 * 1024)
	c := client{TCPConn: connection}
	c.replies, c.room = make(chan pending, 256), make(chan struct{}, 256)
	done := make(chan error, 1)
	go c.reply(done)
	err := c.listen()
	var why refused
	isRefused := errors.As(err, &why)
	if isRefused {
		c.queue(pending{time.Now(), failure, []byte(why)})
	}
	close(c.replies)
	if !isRefused && err != io.EOF && err != io.ErrUnexpectedEOF {
		return err // nobody is there to read what it is owed
	}
	if writeErr := <-done; writeErr != nil {
		return writeErr
	}
	if isRefused {
		// A close with bytes unread sends RST, and the client may lose the
		// ERROR: so FIN first, and discard for one second in all.
		connection.CloseWrite()
		connection.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := io.Copy(io.Discard, connection); err != nil {
			connection.SetLinger(0) // else the kernel keeps what it has not read
		}
	}
	return err
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
			err := serve(connection.(*net.TCPConn))
			log.Print(connection.RemoteAddr(), ": ", err)
		}()
	}
}
