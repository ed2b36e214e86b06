package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"sync"
)

// attackEnv says to a run of the test binary that it is no test, but the hostile clients
// of one.
const attackEnv = "PICLOUD_E2E_ATTACK"

// attack is what hostile clients need to know.
type attack struct {
	Listen, Publish, Write, Read, Token string
	Ways                                []string // which hostiles, by their names
}

func (h hostile) name() string { return h.holder + ", " + h.requester }

// suffer lets hostiles act at once until ctx ends. They are a process with little of the
// processors, since those on a network have none of the board's.
func (v *victim) suffer(ctx context.Context, list ...hostile) {
	a := attack{Listen: v.listen, Publish: v.publish, Write: v.write, Read: v.read, Token: v.token}
	for _, h := range list {
		a.Ways = append(a.Ways, h.name())
	}
	text, err := json.Marshal(a)
	if err != nil {
		v.t.Fatal(err)
	}
	cmd := exec.Command("nice", "-n", "19", os.Args[0])
	cmd.Env = append(os.Environ(), attackEnv+"="+string(text))
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	end, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		v.t.Fatal(err)
	}
	<-ctx.Done()
	_ = end.Close()
	if err := cmd.Wait(); err != nil {
		v.t.Errorf("the hostile clients: %v\n%s", err, &output)
	}
}

// attackAsTold is the process of hostile clients. It ends with its input.
func attackAsTold(text string) error {
	var a attack
	if err := json.Unmarshal([]byte(text), &a); err != nil {
		return fmt.Errorf("%s: %w", attackEnv, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // until the test ends it
		cancel()
	}()
	v := &victim{node: &node{listen: a.Listen}, publish: a.Publish, write: a.Write, read: a.Read, token: a.Token}
	var group sync.WaitGroup
	for _, h := range hostiles {
		if !slices.Contains(a.Ways, h.name()) {
			continue
		}
		for range h.clients {
			group.Go(func() {
				for ctx.Err() == nil {
					h.act(ctx, v)
				}
			})
		}
	}
	group.Wait()
	return nil
}
