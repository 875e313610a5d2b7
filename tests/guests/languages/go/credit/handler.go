// Lends every customer credit up to a limit.
//
//	on                            publishes
//	order.created.<customer>      credit.reserved.<customer>, or credit.exceeded.<customer>
//	order.cancelled.<customer>    credit.released.<customer> if credit was reserved for the order
//
// The key is the customer: `{subject.2}`. The state is what is reserved for each order. An approved order keeps its
// reservation; a cancelled one gives back exactly what it had, once. Each order reserves at least 1, so the state
// never holds more orders than the limit.
//
// Config: `limit`, 1000 if it is not set.
package main

import (
	"errors"

	"heddle"
)

func init() {
	heddle.Handle(handle)
}

func main() {}

// What each order of the customer has reserved.
type reservations map[string]uint64

// What happened to the credit of a customer.
type account struct {
	Order  string `json:"order"`
	Amount uint64 `json:"amount"`
	// What is reserved for all orders of the customer, after the event.
	Reserved uint64 `json:"reserved"`
	Limit    uint64 `json:"limit"`
}

// Rejects what it cannot read and an order that has a reservation already. Asks for another try if the limit cannot be
// read.
func handle(event *heddle.Event) error {
	if event.Token(0) == "order" {
		switch event.Token(1) {
		case "created":
			return reserve(event)
		case "cancelled":
			return release(event)
		}
	}
	return heddle.Reject("`%s` is no event that touches credit", event.Subject)
}

func reserve(event *heddle.Event) error {
	var created struct {
		Order  string `json:"order"`
		Amount uint64 `json:"amount"`
	}
	if err := event.JSON(&created); err != nil {
		return err
	}
	order, amount := created.Order, created.Amount
	if order == "" || amount == 0 {
		return &heddle.DecodeError{What: "payload", Err: errors.New("an order has a name and an amount above 0")}
	}
	limit, err := heddle.ConfigOr("limit", uint64(1000))
	if err != nil {
		return err
	}
	reserved, err := heddle.State[reservations]()
	if err != nil {
		return err
	}
	if _, found := reserved[order]; found {
		return heddle.Reject("order `%s` has a reservation already", order)
	}
	total := reserved.total()
	if total > limit || amount > limit-total {
		heddle.Log.Infof("order `%s` exceeds the limit: %d of %d are reserved", order, total, limit)
		return heddle.Publish("credit.exceeded."+event.Key, account{order, amount, total, limit})
	}
	if reserved == nil {
		reserved = reservations{}
	}
	reserved[order] = amount
	if err := reserved.store(); err != nil {
		return err
	}
	return heddle.Publish("credit.reserved."+event.Key, account{order, amount, total + amount, limit})
}

func release(event *heddle.Event) error {
	var cancelled struct {
		Order string `json:"order"`
	}
	if err := event.JSON(&cancelled); err != nil {
		return err
	}
	limit, err := heddle.ConfigOr("limit", uint64(1000))
	if err != nil {
		return err
	}
	reserved, err := heddle.State[reservations]()
	if err != nil {
		return err
	}
	order := cancelled.Order
	amount, found := reserved[order]
	if !found {
		return nil
	}
	delete(reserved, order)
	if err := reserved.store(); err != nil {
		return err
	}
	return heddle.Publish("credit.released."+event.Key, account{order, amount, reserved.total(), limit})
}

// Never overflows: an order is only added if the sum fits.
func (reserved reservations) total() uint64 {
	var sum uint64
	for _, amount := range reserved {
		sum += amount
	}
	return sum
}

func (reserved reservations) store() error {
	if len(reserved) == 0 {
		heddle.ClearState()
		return nil
	}
	return heddle.SetState(reserved)
}
