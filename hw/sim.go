package hw

import "sync"

// sim is a board that does not exist, for development: it has every line that is
// asked for. Pins of one line are wired together, so an input shows what an output
// on the same line is set to.
type sim struct {
	mu     sync.Mutex      // guards what follows
	levels map[string]bool // high
}

// open never fails.
func (s *sim) open(p *PinConfig) (line, error) {
	l := &simLine{board: s, name: p.Line, invert: p.Invert}
	s.mu.Lock()
	_, wired := s.levels[p.Line]
	if !p.Output && !wired {
		s.levels[p.Line] = p.Pull == "up"
	}
	s.mu.Unlock()
	if p.Output {
		return l, l.set(p.Start)
	}
	return l, nil
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
	l.board.levels[l.name] = on != l.invert
	return nil
}

// Close implements io.Closer.
func (l *simLine) Close() error { return nil }
