package wire

import "testing"

func TestEveryTopicHasConsumers(t *testing.T) {
	for topic := range Topics {
		if len(Consumers[topic]) == 0 {
			t.Errorf("%s is read by nobody", topic)
		}
	}
}
