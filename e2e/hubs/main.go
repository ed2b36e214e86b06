package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"strconv"
	"strings"
	"time"
)

// options are what a run is told.
type options struct {
	picloud     string
	core        int
	servers     []string
	subscribers []int
	rounds      int
	time        time.Duration
	svg         string
}

func main() {
	log.SetFlags(0)
	var o options
	servers := flag.String("servers", "picloud,nchan,bare", "what is measured")
	subscribers := flag.String("subscribers", "1000,10000", "how many, a list")
	what := flag.String("what", "fanout,latency,memory", "which measurements, a list")
	port := flag.Int("bare", 0, "be the bare server on this port")
	flag.StringVar(&o.picloud, "picloud", "./picloud", "binary")
	flag.IntVar(&o.core, "core", 0, "processor core of the servers; run this program on another")
	flag.IntVar(&o.rounds, "rounds", 3, "rounds; the median counts")
	flag.DurationVar(&o.time, "time", 3*time.Second, "of one measurement")
	flag.StringVar(&o.svg, "svg", "", "file for a chart of the fan-out")
	flag.Parse()
	if *port != 0 {
		log.Fatal(serveBare(*port))
	}
	o.servers = strings.Split(*servers, ",")
	for s := range strings.SplitSeq(*subscribers, ",") {
		n, err := strconv.Atoi(s)
		if err != nil {
			log.Fatalf("-subscribers: %v", err)
		}
		o.subscribers = append(o.subscribers, n)
	}
	for w := range strings.SplitSeq(*what, ",") {
		var err error
		switch w {
		case "fanout":
			err = o.fanout(os.Stdout)
		case "latency":
			err = o.latency(os.Stdout)
		case "memory":
			err = o.memory(os.Stdout)
		default:
			err = fmt.Errorf("-what: %q is none of fanout, latency, memory", w)
		}
		if err != nil {
			log.Fatal(err)
		}
	}
}

func (o *options) start(name string) (server, error) {
	switch name {
	case "picloud":
		return startPicloud(o.picloud, o.core)
	case "nchan":
		return startNchan(o.core)
	case "bare":
		return startBare(o.core)
	}
	return nil, fmt.Errorf("-servers: %q is none of picloud, nchan, bare", name)
}

// each measures all servers in turn, so many rounds, and returns the medians of
// what fn returns for each.
func (o *options) each(fn func(s server) ([]float64, error)) (map[string][]float64, error) {
	all := map[string][][]float64{}
	for range o.rounds {
		for _, name := range o.servers {
			s, err := o.start(name)
			if err != nil {
				return nil, err
			}
			values, err := fn(s)
			s.stop()
			if err != nil {
				return nil, err
			}
			all[name] = append(all[name], values)
		}
	}
	out := map[string][]float64{}
	for name, rounds := range all {
		out[name] = medians(rounds)
	}
	return out, nil
}
