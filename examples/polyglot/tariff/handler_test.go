package main

import (
	"fmt"
	"testing"

	"heddle/heddletest"
)

func tariff() *heddletest.Handler {
	return &heddletest.Handler{Handle: price, Key: "{subject.2}", Publishes: []string{"parcel.priced.*"}}
}

func accept(zone string, grams int) heddletest.Event {
	payload := map[string]any{"parcel": "p1", "weight_g": grams, "to": "Ada", "zone": zone}
	return heddletest.Event{Subject: "parcel.accepted.p1", Payload: payload}
}

func TestEveryBegunKilogramAboveTheFirstIsPaid(t *testing.T) {
	for _, example := range []struct {
		zone         string
		grams, cents int
	}{
		{"near", 1, 350}, {"near", 1000, 350}, {"near", 1001, 430}, {"far", 2000, 670}, {"far", 31_500, 3070},
	} {
		run := tariff().Run(t, accept(example.zone, example.grams))
		want := fmt.Sprintf(`{"parcel":"p1","zone":"%s","weight_g":%d,"cents":%d}`,
			example.zone, example.grams, example.cents)
		if got := run.Done().Message("parcel.priced.p1").Text(); got != want {
			t.Errorf("%s, not %s", got, want)
		}
	}
}

func TestAnUnknownZoneIsRejected(t *testing.T) {
	if got := tariff().Run(t, accept("moon", 1)).Rejected(); got != "no tariff for the zone `moon`" {
		t.Error(got)
	}
}
