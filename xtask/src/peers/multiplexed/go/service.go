package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

const service = "weir.peers.Echo"

// bytesCodec carries messages of our own as they are; the health service has real ones.
type bytesCodec struct{}

func (bytesCodec) Name() string { return "proto" }

func (bytesCodec) Marshal(value any) (mem.BufferSlice, error) {
	if message, ok := value.(proto.Message); ok {
		content, err := proto.Marshal(message)
		return mem.BufferSlice{mem.SliceBuffer(content)}, err
	}
	content, ok := value.(*[]byte)
	if !ok {
		return nil, fmt.Errorf("%T cannot be sent", value)
	}
	return mem.BufferSlice{mem.SliceBuffer(*content)}, nil
}

func (bytesCodec) Unmarshal(content mem.BufferSlice, value any) error {
	if message, ok := value.(proto.Message); ok {
		return proto.Unmarshal(content.Materialize(), message)
	}
	target, ok := value.(*[]byte)
	if !ok {
		return fmt.Errorf("%T cannot be received", value)
	}
	*target = content.Materialize()
	return nil
}

var _ encoding.CodecV2 = bytesCodec{}

// echo is the service that the clients of both languages know.
type echo struct {
	name string

	mutex sync.Mutex
	// seen says how a call of Hang or Pour ended, by what its client called it.
	seen map[string]string
}

// unary gives the message back; metadata of the client come back as a header and as a trailer.
func (e *echo) unary(ctx context.Context, message []byte) ([]byte, error) {
	asked, _ := metadata.FromIncomingContext(ctx)
	header := metadata.Pairs("x-backend", e.name)
	for _, value := range asked.Get("x-ask") {
		header.Append("x-answer", value)
	}
	trailer := metadata.MD{}
	for _, value := range asked.Get("x-ask-bin") {
		trailer.Append("x-trailer-bin", value)
	}
	if err := grpc.SetHeader(ctx, header); err != nil {
		return nil, err
	}
	return message, grpc.SetTrailer(ctx, trailer)
}

// fail answers with a status that has details, and a message that must be encoded to travel.
func (e *echo) fail(context.Context, []byte) ([]byte, error) {
	answer := status.New(codes.InvalidArgument, "ungültig: 100 %\nfrom "+e.name)
	answer, err := answer.WithDetails(&errdetails.ErrorInfo{Reason: "PEERS", Domain: e.name})
	if err != nil {
		return nil, err
	}
	return nil, answer.Err()
}

// tell says how a call ended that its client has left.
func (e *echo) tell(_ context.Context, message []byte) ([]byte, error) {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	return []byte(e.seen[string(message)]), nil
}

func (e *echo) note(name string, ctx context.Context) {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	e.seen[name] = ctx.Err().Error()
}

// hang answers nothing until its client has gone.
func (e *echo) hang(stream grpc.ServerStream) error {
	var name []byte
	if err := stream.RecvMsg(&name); err != nil {
		return err
	}
	select {
	case <-stream.Context().Done():
		e.note(string(name), stream.Context())
		return stream.Context().Err()
	case <-time.After(time.Minute):
		return errors.New("nobody has cancelled")
	}
}

// pour sends a message again and again until its client has gone: the cancellation comes in the midst of an answer.
func (e *echo) pour(stream grpc.ServerStream) error {
	var name []byte
	if err := stream.RecvMsg(&name); err != nil {
		return err
	}
	for {
		if err := stream.SendMsg(&name); err != nil {
			<-stream.Context().Done()
			e.note(string(name), stream.Context())
			return err
		}
	}
}

// down sends as many messages of a size as were asked for: "COUNT SIZE".
func (e *echo) down(stream grpc.ServerStream) error {
	var asked []byte
	if err := stream.RecvMsg(&asked); err != nil {
		return err
	}
	words := strings.Fields(string(asked))
	if len(words) != 2 {
		return status.Error(codes.InvalidArgument, "COUNT SIZE")
	}
	count, _ := strconv.Atoi(words[0])
	size, _ := strconv.Atoi(words[1])
	message := pattern(size)
	for range count {
		if err := stream.SendMsg(&message); err != nil {
			return err
		}
	}
	return nil
}

// up says how many messages and bytes came, and their digest.
func (e *echo) up(stream grpc.ServerStream) error {
	count, length, digest := 0, 0, sha256.New()
	for {
		var message []byte
		err := stream.RecvMsg(&message)
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		count, length = count+1, length+len(message)
		digest.Write(message)
	}
	answer := []byte(fmt.Sprintf("%d %d %s", count, length, hex.EncodeToString(digest.Sum(nil))))
	return stream.SendMsg(&answer)
}

// both gives each message back as it comes.
func (e *echo) both(stream grpc.ServerStream) error {
	for {
		var message []byte
		err := stream.RecvMsg(&message)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := stream.SendMsg(&message); err != nil {
			return err
		}
	}
}

// pattern is content that is the same in both languages, and in which a lost piece is noticed.
func pattern(size int) []byte {
	content := make([]byte, size)
	for at := range content {
		content[at] = byte(at * 7 / 3)
	}
	return content
}

type unaryCall func(*echo, context.Context, []byte) ([]byte, error)

func unary(name string, call unaryCall) grpc.MethodDesc {
	return grpc.MethodDesc{
		MethodName: name,
		Handler: func(server any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			var message []byte
			if err := decode(&message); err != nil {
				return nil, err
			}
			answer, err := call(server.(*echo), ctx, message)
			return &answer, err
		},
	}
}

func stream(name string, client, server bool, call func(*echo, grpc.ServerStream) error) grpc.StreamDesc {
	return grpc.StreamDesc{
		StreamName:    name,
		ClientStreams: client,
		ServerStreams: server,
		Handler:       func(server any, stream grpc.ServerStream) error { return call(server.(*echo), stream) },
	}
}

var description = grpc.ServiceDesc{
	ServiceName: service,
	HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{
		unary("Unary", (*echo).unary),
		unary("Fail", (*echo).fail),
		unary("Tell", (*echo).tell),
	},
	Streams: []grpc.StreamDesc{
		stream("Hang", false, true, (*echo).hang),
		stream("Pour", false, true, (*echo).pour),
		stream("Down", false, true, (*echo).down),
		stream("Up", true, false, (*echo).up),
		stream("Both", true, true, (*echo).both),
	},
}
