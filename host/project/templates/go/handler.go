// A gift for every third order of a customer.
package main

import "heddle"

func init() {
	heddle.Handle(handle)
}

// Never called: the host calls the handler.
func main() {}

type placed struct {
	Order string `json:"order"`
}

type gift struct {
	Order  string `json:"order"`
	Number uint64 `json:"number"`
}

func handle(event *heddle.Event) error {
	var placed placed
	if err := event.JSON(&placed); err != nil {
		return err
	}
	orders, err := heddle.UpdateState(func(orders *uint64) { *orders++ })
	if err != nil {
		return err
	}
	if orders%3 == 0 {
		return heddle.Publish("gift.earned."+event.Key, gift{Order: placed.Order, Number: orders / 3})
	}
	return nil
}
