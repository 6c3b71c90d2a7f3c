package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// count is what clients have done.
type count struct {
	mutex sync.Mutex

	Done     int            `json:"done"`
	Failed   int            `json:"failed"`
	Unsent   int            `json:"unsent"`
	First    []string       `json:"first_failures"`
	Backends map[string]int `json:"backends"`
}

func (c *count) add(backend string, err error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if err == nil {
		c.Done++
		if c.Backends == nil {
			c.Backends = map[string]int{}
		}
		c.Backends[backend]++
		return
	}
	c.Failed++
	if len(c.First) < 5 {
		c.First = append(c.First, time.Now().Format("05.000 ")+err.Error())
	}
}

// unsent counts a request that never left the library and is asked once more.
func (c *count) unsent() {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.Unsent++
}

// untilTold is done when standard input ends.
func untilTold() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	return ctx
}

func (c caller) one(sum *count) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var header metadata.MD
	answer, err := c.unary(ctx, "Unary", []byte("hello"), grpc.Header(&header))
	if err == nil && string(answer) != "hello" {
		err = fmt.Errorf("%q came back", answer)
	}
	backend := ""
	if said := header.Get("x-backend"); len(said) > 0 {
		backend = said[0]
	}
	sum.add(backend, err)
}

// many makes a number of calls over one connection, 32 at a time: TARGET COUNT.
func many(arguments []string) error {
	connection, err := dial(arguments[0])
	if err != nil {
		return err
	}
	defer connection.Close()
	total, err := strconv.Atoi(arguments[1])
	if err != nil {
		return err
	}
	left := make(chan struct{}, total)
	for range total {
		left <- struct{}{}
	}
	close(left)
	sum := &count{}
	var group sync.WaitGroup
	for range 32 {
		group.Add(1)
		go func() {
			defer group.Done()
			for range left {
				caller{connection}.one(sum)
			}
		}()
	}
	group.Wait()
	return report(sum)
}

// load makes calls on four connections, eight at a time on each, until standard input ends: TARGET.
func load(arguments []string) error {
	sum := &count{}
	stop := untilTold()
	var group sync.WaitGroup
	for range 4 {
		connection, err := dial(arguments[0])
		if err != nil {
			return err
		}
		defer connection.Close()
		for range 8 {
			group.Add(1)
			go func() {
				defer group.Done()
				for stop.Err() == nil {
					caller{connection}.one(sum)
				}
			}()
		}
	}
	group.Wait()
	return report(sum)
}

// raw asks for a method without a gRPC library, which would keep the time itself: what comes is what the balancer says.
func raw(target, method, timeout string) (*http.Response, error) {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	client := &http.Client{Transport: &http.Transport{Protocols: protocols}, Timeout: 30 * time.Second}
	message := append([]byte{0, 0, 0, 0, 4}, "late"...)
	request, err := http.NewRequest(http.MethodPost, "http://"+target+"/"+service+"/"+method, bytes.NewReader(message))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/grpc")
	request.Header.Set("Te", "trailers")
	if timeout != "" {
		request.Header.Set("Grpc-Timeout", timeout)
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return response, err
}

// verdict is the status of an answer, which is its head where there is nothing else (Trailers-Only).
type verdict struct {
	Code    string `json:"code"`
	Status  string `json:"status"`
	Message string `json:"message"`
	Type    string `json:"type"`
	Only    bool   `json:"trailers_only"`
	Millis  int64  `json:"millis"`
}

func judge(response *http.Response, since time.Time) verdict {
	found := verdict{
		Code:    response.Status,
		Status:  response.Header.Get("Grpc-Status"),
		Message: response.Header.Get("Grpc-Message"),
		Type:    response.Header.Get("Content-Type"),
		Only:    true,
		Millis:  time.Since(since).Milliseconds(),
	}
	if found.Status == "" {
		found.Status, found.Message = response.Trailer.Get("Grpc-Status"), response.Trailer.Get("Grpc-Message")
		found.Only = false
	}
	return found
}

// deadline asks a method that answers nothing, with a time limit that only those on the way can keep: TARGET.
func deadline(arguments []string) error {
	start := time.Now()
	response, err := raw(arguments[0], "Hang", "500m")
	if err != nil {
		return err
	}
	found := judge(response, start)
	connection, err := dial(arguments[0])
	if err != nil {
		return err
	}
	defer connection.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := (caller{connection}).told(ctx, "late"); err != nil {
		return err
	}
	return report(found)
}

// refused makes a call that nobody can serve: what the library says, and what stands in the answer: TARGET.
func refused(arguments []string) error {
	connection, err := dial(arguments[0])
	if err != nil {
		return err
	}
	defer connection.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	_, err = (caller{connection}).unary(ctx, "Unary", []byte("hello"))
	if err == nil {
		return errors.New("the call was served")
	}
	start := time.Now()
	response, raw := raw(arguments[0], "Unary", "")
	if raw != nil {
		return raw
	}
	return report(map[string]any{"library": status.Code(err).String(), "words": err.Error(), "raw": judge(response, start)})
}
