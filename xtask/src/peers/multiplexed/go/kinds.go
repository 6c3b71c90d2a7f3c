package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

const large = 4<<20 - 64

// dial makes one connection; nothing is tried twice but what the other end has said that it never saw.
func dial(target string) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///"+target,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDisableRetry(),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(bytesCodec{}), grpc.MaxCallRecvMsgSize(16<<20)))
}

// caller makes calls of the service.
type caller struct {
	connection *grpc.ClientConn
}

func (c caller) unary(ctx context.Context, name string, message []byte, options ...grpc.CallOption) ([]byte, error) {
	var answer []byte
	err := c.connection.Invoke(ctx, "/"+service+"/"+name, &message, &answer, options...)
	return answer, err
}

func (c caller) stream(ctx context.Context, name string) (grpc.ClientStream, error) {
	both := grpc.StreamDesc{ClientStreams: true, ServerStreams: true}
	return c.connection.NewStream(ctx, &both, "/"+service+"/"+name)
}

// ask sends one message and no more.
func (c caller) ask(ctx context.Context, name string, message []byte) (grpc.ClientStream, error) {
	stream, err := c.stream(ctx, name)
	if err != nil {
		return nil, err
	}
	if err := stream.SendMsg(&message); err != nil {
		return nil, err
	}
	return stream, stream.CloseSend()
}

// kinds makes every kind of call once and looks at all that comes back.
func kinds(arguments []string) error {
	connection, err := dial(arguments[0])
	if err != nil {
		return err
	}
	defer connection.Close()
	calls := caller{connection}
	steps := []struct {
		name string
		step func(context.Context) error
	}{
		{"unary with metadata", calls.metadata},
		{"large messages", calls.large},
		{"messages from the server", calls.down},
		{"messages to the server", calls.up},
		{"messages both ways", calls.both},
		{"a status with details", calls.fail},
		{"a call that is cancelled while nothing comes", calls.hang},
		{"a call that is cancelled while messages come", calls.pour},
		{"a call that takes too long", calls.late},
		{"a method that is not there", calls.nothing},
	}
	for _, step := range steps {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		err := step.step(ctx)
		cancel()
		if err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return report(map[string]int{"kinds": len(steps)})
}

func (c caller) metadata(ctx context.Context) error {
	binary := string([]byte{0, 1, 2, 255, 254, '\n', ','})
	ctx = metadata.AppendToOutgoingContext(ctx, "x-ask", "one, two", "x-ask", "three", "x-ask-bin", binary)
	var header, trailer metadata.MD
	answer, err := c.unary(ctx, "Unary", []byte("hello"), grpc.Header(&header), grpc.Trailer(&trailer))
	if err != nil {
		return err
	}
	if string(answer) != "hello" {
		return fmt.Errorf("%q came back", answer)
	}
	if said := strings.Join(header.Get("x-answer"), ", "); said != "one, two, three" {
		return fmt.Errorf("the header has %q", said)
	}
	if said := trailer.Get("x-trailer-bin"); len(said) != 1 || said[0] != binary {
		return fmt.Errorf("the trailer has %q", said)
	}
	empty, err := c.unary(ctx, "Unary", nil)
	if err == nil && len(empty) != 0 {
		return fmt.Errorf("%q came back for nothing", empty)
	}
	return err
}

func (c caller) large(ctx context.Context) error {
	message := pattern(large)
	for range 4 {
		answer, err := c.unary(ctx, "Unary", message)
		if err != nil {
			return err
		}
		if !bytes.Equal(answer, message) {
			return fmt.Errorf("%d other bytes came back", len(answer))
		}
	}
	return nil
}

// down reads slowly at first, so that what is on its way has to wait.
func (c caller) down(ctx context.Context) error {
	const count, size = 24, 1 << 20
	stream, err := c.ask(ctx, "Down", fmt.Appendf(nil, "%d %d", count, size))
	if err != nil {
		return err
	}
	expected := pattern(size)
	for at := range count {
		if at < 5 {
			time.Sleep(50 * time.Millisecond)
		}
		var message []byte
		if err := stream.RecvMsg(&message); err != nil {
			return fmt.Errorf("message %d: %w", at, err)
		}
		if !bytes.Equal(message, expected) {
			return fmt.Errorf("message %d is another one", at)
		}
	}
	return ends(stream)
}

func ends(stream grpc.ClientStream) error {
	var more []byte
	err := stream.RecvMsg(&more)
	if errors.Is(err, io.EOF) {
		return nil
	}
	return fmt.Errorf("%d bytes and %v instead of the end", len(more), err)
}

func (c caller) up(ctx context.Context) error {
	stream, err := c.stream(ctx, "Up")
	if err != nil {
		return err
	}
	digest := sha256.New()
	length := 0
	for at := range 200 {
		message := pattern(at * 331)
		digest.Write(message)
		length += len(message)
		if err := stream.SendMsg(&message); err != nil {
			return err
		}
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	var answer []byte
	if err := stream.RecvMsg(&answer); err != nil {
		return err
	}
	expected := fmt.Sprintf("200 %d %s", length, hex.EncodeToString(digest.Sum(nil)))
	if string(answer) != expected {
		return fmt.Errorf("%q instead of %q", answer, expected)
	}
	return ends(stream)
}

// both waits for each message before the next one: nothing may be held back on the way.
func (c caller) both(ctx context.Context) error {
	stream, err := c.stream(ctx, "Both")
	if err != nil {
		return err
	}
	for at := range 100 {
		message := fmt.Appendf(nil, "message %d", at)
		if err := stream.SendMsg(&message); err != nil {
			return err
		}
		var answer []byte
		if err := stream.RecvMsg(&answer); err != nil {
			return err
		}
		if !bytes.Equal(answer, message) {
			return fmt.Errorf("%q instead of %q", answer, message)
		}
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	return ends(stream)
}

func (c caller) fail(ctx context.Context) error {
	_, err := c.unary(ctx, "Fail", nil)
	said := status.Convert(err)
	if said.Code() != codes.InvalidArgument || !strings.HasPrefix(said.Message(), "ungültig: 100 %\nfrom ") {
		return fmt.Errorf("the status is %v", err)
	}
	for _, detail := range said.Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok && info.Reason == "PEERS" {
			return nil
		}
	}
	return fmt.Errorf("the details are %v", said.Details())
}

func (c caller) hang(ctx context.Context) error {
	cancelled, cancel := context.WithCancel(ctx)
	stream, err := c.ask(cancelled, "Hang", []byte("hang"))
	if err != nil {
		cancel()
		return err
	}
	time.AfterFunc(300*time.Millisecond, cancel)
	var message []byte
	if err := stream.RecvMsg(&message); status.Code(err) != codes.Canceled {
		return fmt.Errorf("the status is %v", err)
	}
	return c.told(ctx, "hang")
}

func (c caller) pour(ctx context.Context) error {
	cancelled, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.ask(cancelled, "Pour", []byte("pour"))
	if err != nil {
		return err
	}
	for range 100 {
		var message []byte
		if err := stream.RecvMsg(&message); err != nil || string(message) != "pour" {
			return fmt.Errorf("%q and %v came", message, err)
		}
	}
	cancel()
	return c.told(ctx, "pour")
}

func (c caller) late(ctx context.Context) error {
	short, cancel := context.WithTimeout(ctx, 400*time.Millisecond)
	defer cancel()
	stream, err := c.ask(short, "Hang", []byte("late"))
	if err != nil {
		return err
	}
	var message []byte
	if err := stream.RecvMsg(&message); status.Code(err) != codes.DeadlineExceeded {
		return fmt.Errorf("the status is %v", err)
	}
	return c.told(ctx, "late")
}

// told waits until the server knows that a client has gone.
func (c caller) told(ctx context.Context, name string) error {
	for range 100 {
		answer, err := c.unary(ctx, "Tell", []byte(name))
		if err != nil {
			return err
		}
		if len(answer) > 0 {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return errors.New("the server does not learn that its client has gone")
}

func (c caller) nothing(ctx context.Context) error {
	_, err := c.unary(ctx, "Nothing", nil)
	if status.Code(err) != codes.Unimplemented {
		return fmt.Errorf("the status is %v", err)
	}
	return nil
}
