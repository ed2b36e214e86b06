package hw

import (
	"os"
	"slices"
	"sync"
	"time"
)

// sim is a board that does not exist, for development: it has every line that is
// asked for. Pins of one line are wired together, so an input shows what an output
// on the same line is set to.
type sim struct {
	mu     sync.Mutex             // guards what follows
	levels map[string]bool        // high
	inputs map[string][]*simInput // by line
}

func newSim() *sim { return &sim{levels: map[string]bool{}, inputs: map[string][]*simInput{}} }

// open never fails.
func (s *sim) open(p *PinConfig) (line, error) {
	l := simLine{board: s, name: p.Line, invert: p.Invert}
	s.mu.Lock()
	defer s.mu.Unlock()
	_, wired := s.levels[p.Line]
	if !p.Output && !wired {
		s.levels[p.Line] = p.Pull == "up"
	}
	if p.Output {
		s.drive(p.Line, p.Start != p.Invert)
	}
	in := &simInput{simLine: l, queue: make(chan edge, kernelQueue), closed: make(chan struct{})}
	if in.rising, in.falling = p.reported(); !in.rising && !in.falling {
		return &l, nil
	}
	s.inputs[p.Line] = append(s.inputs[p.Line], in)
	return in, nil
}

// drive makes a line high or low. The caller holds mu.
func (s *sim) drive(name string, high bool) {
	if s.levels[name] == high {
		return
	}
	s.levels[name] = high
	now := time.Now()
	for _, in := range s.inputs[name] {
		in.tell(now, high != in.invert)
	}
}

// simLine is a line of it.
type simLine struct {
	board  *sim
	name   string
	invert bool
}

func (l *simLine) get() (bool, error) {
	l.board.mu.Lock()
	defer l.board.mu.Unlock()
	return l.board.levels[l.name] != l.invert, nil
}

func (l *simLine) set(on bool) error {
	l.board.mu.Lock()
	defer l.board.mu.Unlock()
	l.board.drive(l.name, on != l.invert)
	return nil
}

// Close implements io.Closer.
func (l *simLine) Close() error { return nil }

// simInput is one that tells its edges. Like the kernel it keeps a number of them.
type simInput struct {
	simLine

	rising, falling bool
	queue           chan edge
	missed          int // guarded by the board's mu: edges that the queue had no room for
	closed          chan struct{}
}

// tell queues an edge. The caller holds the board's mu.
func (l *simInput) tell(at time.Time, on bool) {
	if on && !l.rising || !on && !l.falling {
		return
	}
	for {
		select {
		case l.queue <- edge{at: at, on: on, missed: l.missed}:
			l.missed = 0
			return
		default:
		}
		select {
		case oldest := <-l.queue:
			l.missed += oldest.missed + 1
		default: // it was read meanwhile
		}
	}
}

func (l *simInput) edges(list []edge) ([]edge, error) {
	select {
	case e := <-l.queue:
		list = append(list, e)
	case <-l.closed:
		return list, os.ErrClosed
	}
	for len(list) < cap(list) {
		select {
		case e := <-l.queue:
			list = append(list, e)
		default:
			return list, nil
		}
	}
	return list, nil
}

// Close implements io.Closer.
func (l *simInput) Close() error {
	l.board.mu.Lock()
	defer l.board.mu.Unlock()
	l.board.inputs[l.name] = slices.DeleteFunc(l.board.inputs[l.name], func(in *simInput) bool { return in == l })
	close(l.closed)
	return nil
}
