package heddleslog_test

import (
	"context"
	"log/slog"
	"slices"
	"testing"

	"heddle"
	"heddle/heddleslog"
	"heddle/heddletest"
)

func TestARecordBecomesALineOfItsLevel(t *testing.T) {
	handler := &heddletest.Handler{Handle: func(*heddle.Event) error {
		log := slog.New(heddleslog.NewHandler())
		log.Info("order placed", "order", "o-1")
		log.With("customer", "c1").WithGroup("sum").Warn("much", "cents", 7)
		log.Log(context.Background(), slog.LevelDebug-4, "step")
		return nil
	}}
	want := []heddletest.LogLine{
		{Level: heddle.LevelInfo, Message: `msg="order placed" order=o-1`},
		{Level: heddle.LevelWarn, Message: `msg=much customer=c1 sum.cents=7`},
		{Level: heddle.LevelTrace, Message: `msg=step`},
	}
	if got := handler.Run(t, heddletest.Event{Subject: "a"}).Done().Logs; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}
