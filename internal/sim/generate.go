package sim

import "strings"

// chain is a bigram model of words: which words follow which in a corpus. It is not changed once
// built.
type chain struct {
	words  []string
	next   [][]int32
	starts []int32
}

func newChain(corpus string) *chain {
	c := &chain{}
	index := map[string]int32{}
	start, prev := true, int32(0)
	for _, w := range strings.Fields(corpus) {
		i, ok := index[w]
		if !ok {
			i = int32(len(c.words))
			index[w] = i
			c.words = append(c.words, w)
			c.next = append(c.next, nil)
		}
		if start {
			c.starts = append(c.starts, i)
		} else {
			c.next[prev] = append(c.next[prev], i)
		}
		prev, start = i, strings.HasSuffix(w, ".")
	}
	return c
}

// generate returns whole sentences of at least n tokens together; a sentence that would go more
// than half as far again is broken off.
func (c *chain) generate(key uint64, n int) string {
	var b strings.Builder
	w, start := int32(0), true
	for i, tokens := 0, 0; ; i++ {
		if start {
			if tokens >= n {
				break
			}
			w = c.starts[pick(key, forWord, i, len(c.starts))]
		} else {
			follow := c.next[w]
			w = follow[pick(key, forWord, i, len(follow))]
		}
		word := c.words[w]
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(word)
		tokens += countTokens(word)
		start = strings.HasSuffix(word, ".")
		if !start && tokens >= n+n/2+8 {
			b.WriteByte('.')
			break
		}
	}
	return b.String()
}

// corpus is what generated text is made of. Sentences end with a full stop; every other word is
// followed by another.
const corpus = `
The order was sent to the address in your account.
The address in your account can be changed before the order is sent.
Your order is on its way and will arrive within five days.
Your refund will be paid to the card that you used for the order.
A refund is paid within five days after the item was returned.
You can return the item within thirty days of delivery.
You can change the address until the parcel is on its way.
Please check the tracking number in the email that we sent to you.
Please write to our support team if the parcel does not arrive.
Our support team is open from Monday to Saturday.
Our team will look at your question and answer within one day.
We are sorry that the parcel did not arrive in time.
We will send a new item to you at no cost.
If the item is damaged, please send a photo of the damage to our team.
If you forgot the password, you can ask for a new one on the page.
The page shows the state of your order and the day of delivery.
The day of delivery depends on the country and the kind of parcel.
A river carries water from the mountains to the sea.
The mountains in the north are covered with snow for most of the year.
Most of the water on the earth is in the sea.
The earth moves around the sun in about one year.
The sun gives light and heat to the earth.
Light moves faster than anything else that we know of.
A plant needs light, water and air to grow.
Trees in a forest grow slowly and live for many years.
For many years the city was the largest port in the country.
The city has a museum, a theatre and a park by the river.
A library keeps books that anyone in the city can read.
Books were written by hand before the press was invented.
The press made it possible to print many books in one day.
In one day a person breathes about twenty thousand times.
A person who reads every day learns many new words.
New words enter a language when people need them.
People have used maps to find their way for thousands of years.
Maps show the roads, the rivers and the towns of a country.
The roads between the towns were built a long time ago.
Time is measured in hours, minutes and seconds.
`
