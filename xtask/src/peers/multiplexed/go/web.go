package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// web asks for a page on a number of connections, several requests at a time on each, until standard input ends. It is what
// programs in Go use: requests that the server has said it will not look at go to another connection, nothing else is tried
// twice. Bodies of requests cannot be sent again at all.
func web(arguments []string) error {
	flags := flag.NewFlagSet("web", flag.ExitOnError)
	url := flags.String("url", "", "what to ask for")
	connections := flags.Int("connections", 4, "clients, each with a connection of its own")
	streams := flags.Int("streams", 8, "requests at a time on each")
	at := flags.String("at", "", "the address of every host; without it they are looked up")
	authority := flags.String("ca", "", "a file with the authority to believe; without it requests go in clear text")
	_ = flags.Parse(arguments)

	sum := &count{}
	stop := untilTold()
	var group sync.WaitGroup
	for range *connections {
		client, err := webClient(*authority, *at)
		if err != nil {
			return err
		}
		for number := range *streams {
			group.Add(1)
			go func() {
				defer group.Done()
				for stop.Err() == nil {
					backend, err := page(client, *url, number%4 == 3)
					for again := 0; errors.Is(err, errUnsent) && again < 3; again++ {
						sum.unsent()
						backend, err = page(client, *url, number%4 == 3)
					}
					sum.add(backend, err)
				}
			}()
		}
	}
	group.Wait()
	return report(sum)
}

func webClient(authority, at string) (*http.Client, error) {
	protocols := new(http.Protocols)
	transport := &http.Transport{Protocols: protocols}
	if at != "" {
		transport.DialContext = func(ctx context.Context, network, host string) (net.Conn, error) {
			_, port, err := net.SplitHostPort(host)
			if err != nil {
				return nil, err
			}
			return (&net.Dialer{}).DialContext(ctx, network, net.JoinHostPort(at, port))
		}
	}
	if authority == "" {
		protocols.SetUnencryptedHTTP2(true)
	} else {
		protocols.SetHTTP2(true)
		file, err := os.ReadFile(authority)
		if err != nil {
			return nil, err
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(file)
		transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	return &http.Client{Transport: transport, Timeout: 20 * time.Second}, nil
}

// errUnsent is the end of a request that was never sent. The library chooses a connection, finds that it is told to go before
// the first header is written, closes the body that nobody has read, and then cannot send it elsewhere
// (https://go.dev/issue/62450; with a server in Go it happens as well). No server can do anything about it.
var errUnsent = errors.New("the library did not send the request")

// page asks once; who answered.
func page(client *http.Client, url string, upload bool) (string, error) {
	method, body := http.MethodGet, io.Reader(nil)
	var begun atomic.Bool
	if upload {
		// Of a kind that the library cannot rewind.
		method, body = http.MethodPut, io.LimitReader(zeroes{&begun}, 20000)
	}
	trace := &httptrace.ClientTrace{WroteHeaderField: func(string, []string) { begun.Store(true) }}
	ctx := httptrace.WithClientTrace(context.Background(), trace)
	request, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return "", err
	}
	response, err := client.Do(request)
	if err != nil && upload && !begun.Load() && strings.Contains(err.Error(), "cannot rewind body") {
		return "", fmt.Errorf("%w: %w", errUnsent, err)
	}
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		return "", err
	}
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %.100s", response.Status, content)
	}
	if response.ProtoMajor != 2 {
		return "", errors.New("the answer is " + response.Proto)
	}
	return response.Header.Get("X-Backend"), nil
}

// zeroes never ends, and says when it was read for the first time.
type zeroes struct{ begun *atomic.Bool }

func (z zeroes) Read(target []byte) (int, error) {
	z.begun.Store(true)
	clear(target)
	return len(target), nil
}
