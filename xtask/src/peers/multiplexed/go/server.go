package main

import (
	"context"
	"flag"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
)

// serve is a gRPC server in clear text. SIGTERM ends it in order; SIGUSR1 and SIGUSR2 have its health service say that it
// does not serve, and that it does.
func serve(arguments []string) error {
	flags := flag.NewFlagSet("serve", flag.ExitOnError)
	address := flags.String("listen", "", "where to listen")
	name := flags.String("name", "go", "what it calls itself")
	age := flags.Duration("age", 0, "how old a connection may become before it is told to go away")
	_ = flags.Parse(arguments)

	options := []grpc.ServerOption{grpc.ForceServerCodecV2(bytesCodec{}), grpc.MaxRecvMsgSize(16 << 20)}
	if *age > 0 {
		options = append(options, grpc.KeepaliveParams(keepalive.ServerParameters{
			MaxConnectionAge:      *age,
			MaxConnectionAgeGrace: 10 * time.Second,
		}))
	}
	server := grpc.NewServer(options...)
	server.RegisterService(&description, &echo{name: *name, seen: map[string]string{}})
	checks := health.NewServer()
	grpc_health_v1.RegisterHealthServer(server, checks)

	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGUSR2)
	go func() {
		for signal := range signals {
			switch signal {
			case syscall.SIGUSR1:
				checks.SetServingStatus("", grpc_health_v1.HealthCheckResponse_NOT_SERVING)
			case syscall.SIGUSR2:
				checks.SetServingStatus("", grpc_health_v1.HealthCheckResponse_SERVING)
			default:
				server.GracefulStop()
			}
		}
	}()
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", *address)
	if err != nil {
		return err
	}
	return server.Serve(listener)
}
