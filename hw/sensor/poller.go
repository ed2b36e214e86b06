package sensor

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/board"
)

// Publisher publishes events; publish.Service implements it.
type Publisher interface {
	Publish(ctx context.Context, p picloud.Publication) ([]picloud.Event, error)
}

// Topics registers topics.
type Topics interface {
	// EnsureTopic registers a topic unless there is one of its name. It returns the one
	// that there is.
	EnsureTopic(ctx context.Context, t picloud.Topic) (picloud.Topic, error)
}

// Config configures a Poller.
type Config struct {
	Sensors   []Settings // complete, without faults
	Simulated bool       // values are made up, and marked
	Publisher Publisher
	Topics    Topics
	Root      string       // of the kernel's files, for tests; default /
	Logger    *slog.Logger // nil: none
}

// Poller reads the sensors and publishes their values. It is safe for concurrent use.
type Poller struct {
	cfg    Config
	probes []*probe // by name
	buses  map[int]*bus

	scanning chan struct{} // of capacity 1: held while the board is searched
}

// New returns a Poller, which opens nothing before Run.
func New(cfg Config) *Poller {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	cfg.Root = cmp.Or(cfg.Root, "/")
	return newPoller(cfg, openBus(cfg.Root))
}

// newPoller takes how buses are opened.
func newPoller(cfg Config, open func(int) (transport, error)) *Poller {
	p := &Poller{cfg: cfg, buses: map[int]*bus{}, scanning: make(chan struct{}, 1)}
	numbers := busNumbers(cfg.Root)
	for i := range cfg.Sensors {
		numbers = append(numbers, cfg.Sensors[i].Bus)
	}
	for _, n := range numbers {
		if p.buses[n] == nil {
			p.buses[n] = newBus(n, open)
		}
	}
	for _, s := range cfg.Sensors {
		p.probes = append(p.probes, newProbe(s, p.buses[s.Bus], &p.cfg))
	}
	slices.SortFunc(p.probes, func(a, b *probe) int { return cmp.Compare(a.set.Name, b.set.Name) })
	return p
}

// Run polls the sensors until ctx ends. A transfer that the kernel does not return from
// outlives it.
func (p *Poller) Run(ctx context.Context) error {
	var all sync.WaitGroup
	for _, one := range p.probes {
		all.Go(func() { one.run(ctx) })
	}
	all.Wait()
	<-ctx.Done()
	return nil
}

// Sensors lists the sensors by name, with what was read last.
func (p *Poller) Sensors() []board.Sensor {
	list := make([]board.Sensor, 0, len(p.probes))
	for _, one := range p.probes {
		list = append(list, one.state())
	}
	return list
}

// AppSensors lists the sensors of an app as Sensors does.
func (p *Poller) AppSensors(app string) []board.Sensor {
	list := []board.Sensor{}
	for _, one := range p.probes {
		if one.set.App == app {
			list = append(list, one.state())
		}
	}
	return list
}

// Sensor returns a sensor of an app with what was read last, or board.ErrSensorNotFound.
func (p *Poller) Sensor(app, name string) (board.Sensor, error) {
	for _, one := range p.probes {
		if one.set.App == app && one.set.Name == name {
			return one.state(), nil
		}
	}
	return board.Sensor{}, board.ErrSensorNotFound.Detailf("the node's configuration has no sensor %q for the app %s below hw.sensors", name, app)
}
