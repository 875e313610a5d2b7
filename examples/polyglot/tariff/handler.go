// Prices parcels: on `parcel.accepted.<parcel>` it publishes `parcel.priced.<parcel>`.
package main

import (
	"errors"

	"heddle"
)

func init() {
	heddle.Handle(price)
}

// Never called: the host calls the handler.
func main() {}

type accepted struct {
	Parcel string `json:"parcel"`
	Zone   string `json:"zone"`
	Grams  int64  `json:"weight_g"`
}

type priced struct {
	accepted
	Cents int64 `json:"cents"`
}

// What the first kilogram costs in each zone, in cents.
var base = map[string]int64{"near": 350, "far": 590}

// What every further kilogram costs, in cents. A begun kilogram is paid in full.
const further = 80

func price(event *heddle.Event) error {
	var parcel accepted
	if err := event.JSON(&parcel); err != nil {
		return err
	}
	cents, known := base[parcel.Zone]
	if !known {
		return heddle.Reject("no tariff for the zone `%s`", parcel.Zone)
	}
	if parcel.Grams < 1 {
		return &heddle.DecodeError{What: "payload", Err: errors.New("a parcel has a weight")}
	}
	kilograms := (parcel.Grams + 999) / 1000
	cents += further * (kilograms - 1)
	return heddle.Publish("parcel.priced."+event.Key, priced{parcel, cents})
}
