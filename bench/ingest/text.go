package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// systems are the prompts of a few applications; real ones have few.
var systems = [...]string{
	"You are the support assistant of a shop for lamps. Answer politely, briefly and only from the shop's terms. If you do not know, say so.",
	"You help engineers with questions about our cloud. Give commands that can be copied, and say what each of them changes.",
	"Summarise the conversation for the next agent: what the customer wants, what was promised, and what is still open.",
	"You are a travel planner. Offer at most three choices with prices, and ask before anything is booked.",
}

// words are what the texts are made of, in no order.
var words = strings.Fields(`the a of to and in is it for on with that this be as at by from or an are was were not but have has had you we they he she
 his her our your their which when where while after before because so than then there here about into over under between again still also just only
 very much many more most some any each other another same few little last next first second new old good better small large early late open closed
 order parcel lamp shade cable bulb switch table chair window door garden kitchen room house street city station airport hotel ticket train flight seat
 price cost invoice payment refund credit discount account customer agent manager team office store shop warehouse delivery address date day week month
 year morning evening time hour minute answer question problem reason cause note letter message email phone call number list file folder page line word
 server cluster node disk memory network request response error log metric alert deploy release version branch commit build test check review change
 plan goal step task rule term policy contract form photo picture colour green blue white black silver light dark warm cold clean broken damaged missing
 wrong right possible likely certain clear simple quick slow free full empty ready available send sent receive received write wrote read ask asked tell
 told give given take taken make made get got keep kept find found need needs want wanted help helps use used try tried wait waited work works start
 started stop stopped move moved open return returned replace replaced repair repaired order ordered book booked cancel cancelled confirm confirmed
 explain explained show shown choose chosen compare compared continue continued happen happened arrive arrived leave left stay stayed look looked`)

// phrase writes about n bytes of sentences, with the numbers that such texts have.
func phrase(r *rand.Rand, b *strings.Builder, n int) {
	for end := b.Len() + n; b.Len() < end; {
		sentence := 6 + r.IntN(14)
		for i := range sentence {
			w := words[r.IntN(1+r.IntN(len(words)))] // the earlier the more often, as in any language
			if i == 0 {
				w = strings.ToUpper(w[:1]) + w[1:]
			} else {
				b.WriteByte(' ')
			}
			b.WriteString(w)
			switch r.IntN(60) {
			case 0:
				fmt.Fprintf(b, " %d", 2+r.IntN(40))
			case 1:
				fmt.Fprintf(b, " 2026-%02d-%02d", 1+r.IntN(12), 1+r.IntN(28))
			case 2:
				fmt.Fprintf(b, " $%d.%02d", 5+r.IntN(200), r.IntN(100))
			case 3:
				b.WriteByte(',')
			}
		}
		b.WriteString(". ")
	}
}

// planted is what people write about themselves; a search of the store must find none of it.
const planted = "@mail.example"

// said is a conversation of 1 KB. One in four names somebody. Mark stands in the question.
func said(r *rand.Rand, mark string) (system, question, answer string) {
	system = systems[r.IntN(len(systems))]
	var b strings.Builder
	b.WriteString("It is about " + mark + ". ")
	phrase(r, &b, 150+r.IntN(250))
	if r.IntN(4) == 0 {
		name := words[r.IntN(len(words))] + "." + words[r.IntN(len(words))]
		fmt.Fprintf(&b, "You can reach me at %s%d%s.com or +1 415 555 %04d. ", name, r.IntN(1000), planted, r.IntN(10000))
		phrase(r, &b, 40)
	}
	question = b.String()
	b.Reset()
	phrase(r, &b, 1024-len(system)-len(question))
	return system, question, b.String()
}
