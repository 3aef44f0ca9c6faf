// Asks until the server answers, and notices within seconds if it is gone.
//
//	go run heartbeat_client.go PORT [TEXT]...    or a TEXT per line of stdin
//
// Exit codes: 0 answered, 2 wrong usage, 3 certainly not executed, 4 unknown,
// 5 the server broke the protocol, 6 the server answered a definite error.
package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

const (
	maxLength                   = 65536
	echo, ping, failure         = 0x01, 0x02, 0x7f
	reply                       = 0x80 // a reply: its request's kind and this
	usage, notExecuted, unknown = 2, 3, 4
	broken, definite            = 5, 6
)

// What the code of an ERROR frame means for the request.
var meaning = map[byte]int{1: definite, 2: definite, 3: definite, 4: definite,
	5: unknown, 6: notExecuted, 7: definite, 8: notExecuted, 9: definite}

var (
	heartbeat    = milliseconds("TCP_HEARTBEAT_MS", 5000) // before a PING
	connectLimit = milliseconds("TCP_CONNECT_MS", 4000)
	requestLimit = milliseconds("TCP_REQUEST_MS", 5000)     // to a whole reply
	limit        = milliseconds("TCP_DEADLINE_MS", 30000)   // all for a TEXT
	attempts     = setting("TCP_ATTEMPTS", 5)               // the first too
	lowest       = milliseconds("TCP_BACKOFF_BASE_MS", 100) // first wait
	highest      = milliseconds("TCP_BACKOFF_CAP_MS", 2000) // any wait
)

func setting(name string, preset int) int {
	value := os.Getenv(name)
	if value == "" {
		return preset
	}
	n, err := strconv.ParseUint(value, 10, 31)
	if err != nil {
		exit(usage, name, err)
	}
	return int(n)
}

func milliseconds(name string, preset int) time.Duration {
	return time.Duration(setting(name, preset)) * time.Millisecond
}

func exit(code int, why ...any) {
	fmt.Fprintln(os.Stderr, why...)
	os.Exit(code)
}

// failed is an error and the exit code that it means.
type failed struct {
	error
	code int
}

type frame struct {
	kind    byte
	payload string
}

// server is a connection. A goroutine reads from it as long as it lives, and
// not only while a reply is due: the server may send a PING at any time.
type server struct {
	net.Conn
	frames chan frame // closed at the end, which is then in err
	err    error
}

// Read asks a server that is silent for a sign of life: any byte is one.
func (s *server) Read(buffer []byte) (int, error) {
	for _, intervals := range []time.Duration{1, 2} {
		s.SetReadDeadline(time.Now().Add(intervals * heartbeat))
		n, err := s.Conn.Read(buffer)
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		s.send(ping, "\x00\x00\x00\x00\x00\x00\x00\x00") // TCP resends it
	}
	return 0, errors.New("no sign of life in time")
}

func (s *server) send(kind byte, payload string) error {
	out := binary.BigEndian.AppendUint32(nil, uint32(1+len(payload)))
	_, err := s.Write(append(append(out, kind), payload...))
	return err
}

// listen answers PINGs, and hands other frames on.
func (s *server) listen() {
	defer close(s.frames)
	defer s.Close()
	reader := bufio.NewReader(s)
	for s.err == nil {
		var next frame
		next, s.err = receive(reader)
		switch {
		case s.err != nil || next.kind == ping|reply: // a sign of life
		case next.kind == ping && len(next.payload) == 8:
			s.err = s.send(ping|reply, next.payload)
		case len(s.frames) == cap(s.frames):
			s.err = errors.New("the server sent what we did not ask for")
		default:
			s.frames <- next
		}
	}
}

func receive(reader io.Reader) (frame, error) {
	var header [4]byte
	if _, err := io.ReadFull(reader, header[:]); err != nil {
		return frame{}, err
	}
	n := binary.BigEndian.Uint32(header[:])
	if n == 0 || n > maxLength {
		why := fmt.Errorf("the server sent the length %d", n)
		return frame{}, failed{why, broken}
	}
	body := make([]byte, n)
	_, err := io.ReadFull(reader, body)
	return frame{body[0], string(body[1:])}, err
}

type client struct {
	port string
	kept *server // owes us nothing
}

// connection returns the one that was kept, if the server has neither closed
// it nor spoken since, or a new one.
func (c *client) connection(end time.Time) (*server, error) {
	if kept := c.kept; kept != nil {
		c.kept = nil
		select {
		case <-kept.frames:
			kept.Close()
		case <-time.After(time.Millisecond):
			return kept, nil
		}
	}
	dialer := net.Dialer{Deadline: within(connectLimit, end)}
	connection, err := dialer.Dial("tcp", "127.0.0.1:"+c.port)
	if err != nil {
		return nil, failed{err, notExecuted}
	}
	s := &server{Conn: connection, frames: make(chan frame, 1)}
	go s.listen()
	return s, nil
}

// within returns the time after limit, or end if that is earlier.
func within(limit time.Duration, end time.Time) time.Time {
	if t := time.Now().Add(limit); t.Before(end) {
		return t
	}
	return end
}

// attempt asks once. It keeps the connection only if the reply came: a late
// one must not answer the next request.
func (c *client) attempt(text string, end time.Time) error {
	s, err := c.connection(end)
	if err != nil {
		return err
	}
	// One limit for all of it: the reply must be there before the Close.
	timer := time.AfterFunc(time.Until(within(requestLimit, end)), func() {
		s.Close()
	})
	defer timer.Stop()
	// A server may answer before it has read all. If this fails, so does Read.
	go s.send(echo, text)
	got, ok := <-s.frames
	if !ok {
		return s.err
	}
	if got == (frame{echo | reply, text}) {
		c.kept = s
		return nil
	}
	s.Close()
	if got.kind == failure && got.payload != "" && meaning[got.payload[0]] != 0 {
		code, why := got.payload[0], got.payload[1:]
		return failed{fmt.Errorf("error %d: %.200q", code, why), meaning[code]}
	}
	why := fmt.Errorf("kind %#02x is not the reply to TEXT", got.kind)
	return failed{why, broken}
}

// ask returns when the reply is there, and otherwise it ends the program.
func (c *client) ask(text string) {
	end, outcome, ceiling := time.Now().Add(limit), notExecuted, lowest
	for n := 1; n <= attempts; n++ {
		err := c.attempt(text, end)
		if err == nil {
			return
		}
		fmt.Fprintf(os.Stderr, "attempt %d: %v\n", n, err)
		why := failed{err, unknown} // it may have been executed
		errors.As(err, &why)
		if why.code == unknown {
			outcome = unknown // and stays so, whatever comes
		} else if why.code != notExecuted && outcome != unknown {
			os.Exit(why.code) // asking again would not help
		} else if why.code != notExecuted {
			os.Exit(unknown)
		}
		// Full jitter: clients that failed together do not return together.
		if ceiling > highest {
			ceiling = highest
		}
		wait := time.Duration(rand.Int63n(int64(ceiling) + 1))
		if n == attempts || time.Now().Add(wait).After(end) {
			break
		}
		time.Sleep(wait)
		ceiling *= 2
	}
	exit(outcome, "127.0.0.1:"+c.port+": gave up")
}

func main() {
	if len(os.Args) < 2 {
		exit(usage, "usage: heartbeat_client PORT [TEXT]...")
	}
	// Before Go 1.20 the common source is the same in every process.
	rand.Seed(time.Now().UnixNano())
	c, texts := client{port: os.Args[1]}, os.Args[2:]
	stdin := bufio.NewReader(os.Stdin)
	for i := 0; i < len(texts) || len(texts) == 0; i++ {
		var text string
		if len(texts) > 0 {
			text = texts[i]
		} else {
			line, err := stdin.ReadString('\n')
			if line == "" && err == io.EOF {
				return
			} else if err != nil && err != io.EOF {
				exit(1, err)
			}
			text = strings.TrimSuffix(line, "\n")
		}
		if len(text) > maxLength-1 {
			exit(usage, "a TEXT has more than 65535 bytes")
		}
		c.ask(text)
		if _, err := fmt.Println(text); err != nil {
			exit(1, err)
		}
	}
}
