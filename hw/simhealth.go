package hw

import (
	"math"
	"time"

	"github.com/picloud/picloud/board"
)

// simBegan is when the simulated board was switched on.
var simBegan = time.Now()

// simulatedModel fills in what the simulated board is.
func simulatedModel(p *board.Health) {
	p.Simulated = true
	p.Model, p.Processor = new("Simulated Raspberry Pi"), new("none")
}

// Temperature of the simulated board: a wave, so that there is something to see.
const (
	simCelsius = 48.0
	simSwing   = 6.0
	simPeriod  = 2 * time.Minute
)

// simulatedVitals fills in temperature and power of the simulated board.
func simulatedVitals(p *board.Health) {
	angle := 2 * math.Pi * time.Since(simBegan).Seconds() / simPeriod.Seconds()
	p.Simulated = true
	p.Celsius = new(math.Round((simCelsius+simSwing*math.Sin(angle))*10) / 10)
	p.Undervoltage, p.UndervoltageSeen, p.Throttled, p.ThrottledSeen = new(false), new(false), new(false), new(false)
}
