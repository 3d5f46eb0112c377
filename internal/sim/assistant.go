package sim

import (
	"strings"
)

// topic is something that the built-in assistant knows. All answers to it state the same facts.
type topic struct {
	name    string
	words   string // that point to it, by weight: "word word:3"
	answers []string
}

var topics = [...]topic{
	{"refund", "refund:4 refunds:4 refunded:4 return:3 returns:3 returned:3 returning:3 money", []string{
		"You can return any item within 30 days of delivery for a full refund. Refunds reach your account within 5 business days.",
		"Of course. Items can be returned within 30 days of delivery for a full refund, which arrives within 5 business days.",
		"We give a full refund for anything you send back within 30 days of delivery. The money is in your account within 5 business days.",
	}},
	{"shipping", "shipping:3 shipped:3 ship:3 ships:3 delivery:3 deliver:3 delivered:2 deliveries:3 arrive:2 postage:3", []string{
		"Standard shipping takes 3 to 5 business days and is free for orders over $50. Express shipping takes 1 business day.",
		"We deliver in 3 to 5 business days, free of charge for orders over $50. With express shipping it takes 1 business day.",
		"Your parcel arrives in 3 to 5 business days with standard shipping, which is free for orders over $50, or in 1 business day with express shipping.",
	}},
	{"password_reset", "password:4 passwords:4 reset:3 login:3 log:2 signin:3 locked:3 forgot:2 forgotten:2", []string{
		"To reset your password, open the sign-in page and choose \"Forgot password\". We will email you a link that is valid for 24 hours.",
		"Choose \"Forgot password\" on the sign-in page, and we will email you a link to reset your password. It is valid for 24 hours.",
		"You can reset your password with \"Forgot password\" on the sign-in page. The link we email you is valid for 24 hours.",
	}},
	{"opening_hours", "hours:4 open:2 opening:3 close:2 closing:3 closed:3 weekend:2 weekends:2 sunday:2 saturday:2 monday:2", []string{
		"We are open Monday to Friday from 9:00 to 18:00, and Saturday from 10:00 to 16:00. We are closed on Sunday.",
		"Our opening hours are Monday to Friday 9:00 to 18:00 and Saturday 10:00 to 16:00. On Sunday we are closed.",
		"You can reach us Monday to Friday from 9:00 to 18:00 and Saturday from 10:00 to 16:00, but not on Sunday.",
	}},
	{"order_status", "order:2 orders:2 status:3 track:4 tracking:4 parcel:2 package:2 where:1", []string{
		"You can follow your order under \"My orders\" with the tracking number from your confirmation email.",
		"Open \"My orders\" and enter the tracking number from your confirmation email to see where your order is.",
		"The tracking number in your confirmation email shows the status of your order under \"My orders\".",
	}},
	{"cancel", "cancel:4 cancelled:4 canceled:4 cancellation:4 unsubscribe:4 subscription:2", []string{
		"You can cancel an order under \"My orders\" until it has been shipped. Subscriptions end at the close of the billing period.",
		"Until it has been shipped, an order can be cancelled under \"My orders\". A subscription ends with its billing period.",
		"Go to \"My orders\" to cancel before your order is shipped. Subscriptions can be ended at any time and run to the end of the billing period.",
	}},
	{"payment", "payment:3 payments:3 pay:3 paid:2 card:3 paypal:4 invoice:3 invoices:3 billing:3 charge:2 charged:3", []string{
		"We accept credit cards, PayPal and bank transfer. Your invoice is sent by email after the payment.",
		"You can pay by credit card, PayPal or bank transfer, and the invoice comes by email.",
		"Credit cards, PayPal and bank transfer are all accepted. We email the invoice once the payment is made.",
	}},
	{"warranty", "warranty:4 guarantee:3 broken:3 defective:4 damaged:3 repair:3 faulty:4", []string{
		"All products have a warranty of 2 years. Send us a photo of the fault and we will repair or replace the item free of charge.",
		"The warranty is 2 years. With a photo of the fault, we repair or replace the item free of charge.",
		"For 2 years we repair or replace faulty items free of charge. Please send us a photo of the fault.",
	}},
	{"contact", "contact:3 phone:2 email:2 human:4 agent:3 person:2 speak:2 talk:2 call:2 representative:4", []string{
		"You can reach our support team at support@example.com or by phone at 555-0100 during opening hours.",
		"Write to support@example.com, or call 555-0100 during opening hours to speak to a person.",
		"Our team is at support@example.com and, during opening hours, at 555-0100.",
	}},
	{"account", "account:2 address:3 profile:3 delete:3 username:3 settings:3", []string{
		"You can change your address and other details under \"Account settings\". Changes apply to orders that have not been shipped.",
		"Open \"Account settings\" to change your address or other details; orders that have not been shipped follow the change.",
		"Your details, such as the address, are under \"Account settings\". A change applies to orders that have not been shipped.",
	}},
	{"discount", "discount:4 discounts:4 coupon:4 voucher:4 promo:4 sale:2 cheaper:3", []string{
		"New customers get a discount of 10% with the code WELCOME10. Codes cannot be combined.",
		"With the code WELCOME10 new customers save 10%. Codes cannot be combined.",
		"The code WELCOME10 gives new customers 10% off, and cannot be combined with others.",
	}},
	{"refusal", "bomb:9 weapon:6 weapons:6 hack:6 malware:8 steal:6 poison:6 jailbreak:8 phishing:6", []string{
		"I'm sorry, but I can't help with that.",
		"I cannot assist with that request.",
		"I'm unable to help with this.",
	}},
	{"science", "boil:4 boils:4 boiling:4 water:1", []string{
		"Water boils at 100 degrees Celsius at sea level.",
		"At sea level, water boils at 100 degrees Celsius.",
	}},
	{"planets", "planets:4 planet:3 solar:3 largest:1", []string{
		"The solar system has eight planets, and the largest of them is Jupiter.",
		"There are eight planets in the solar system. Jupiter is the largest.",
	}},
	{"thanks", "thanks:3 thank:3 great:1", []string{
		"You're welcome! Is there anything else I can help with?",
		"Gladly. Let me know if there is anything else.",
	}},
	{"greeting", "hello:2 hi:2 hey:2 morning:1", []string{
		"Hello! How can I help you today?",
		"Hi, welcome to our support. What can I do for you?",
	}},
}

// unknown is what the assistant says when nothing points to a topic.
var unknown = topic{"other", "", []string{
	"I'm not sure about that. Please write to support@example.com and our team will help you.",
	"I don't have that information. Our team at support@example.com will be able to help.",
	"That is not something I know about. Please contact support@example.com.",
}}

// capitals answers "capital of X".
var capitals = map[string]string{
	"france": "Paris", "germany": "Berlin", "italy": "Rome", "spain": "Madrid", "portugal": "Lisbon",
	"austria": "Vienna", "poland": "Warsaw", "norway": "Oslo", "sweden": "Stockholm", "finland": "Helsinki",
	"denmark": "Copenhagen", "greece": "Athens", "ireland": "Dublin", "japan": "Tokyo", "china": "Beijing",
	"india": "New Delhi", "canada": "Ottawa", "australia": "Canberra", "brazil": "Brasília", "egypt": "Cairo",
	"kenya": "Nairobi", "peru": "Lima", "chile": "Santiago", "hungary": "Budapest",
}

// pointer says that a word points to a topic.
type pointer struct {
	topic  uint8
	weight uint8
}

// topicIndex finds topics by word. It is not changed once built.
type topicIndex map[string]pointer

func newTopicIndex() topicIndex {
	idx := topicIndex{}
	for i := range topics {
		for _, w := range strings.Fields(topics[i].words) {
			word, weight, _ := strings.Cut(w, ":")
			p := pointer{topic: uint8(i), weight: 1}
			if weight != "" {
				p.weight = weight[0] - '0'
			}
			idx[word] = p
		}
	}
	return idx
}

// find returns the topic that most words point to; of equals, the one named last, since a prompt
// ends with its question. It also returns the capital that was asked for, if one was.
func (idx topicIndex) find(text string) (*topic, string) {
	var score [len(topics)]int
	best, capital := -1, false
	var buf [24]byte
	n := 0
	for i := 0; i <= len(text); i++ {
		if i < len(text) && isLetter(text[i]) {
			if n < len(buf) {
				buf[n] = text[i] | 0x20
			}
			n++
			continue
		}
		if n > 0 && n <= len(buf) {
			word := buf[:n]
			if string(word) == "capital" {
				capital = true
			} else if p, ok := idx[string(word)]; ok {
				score[p.topic] += int(p.weight)
				if best < 0 || score[p.topic] >= score[best] {
					best = int(p.topic)
				}
			} else if capital {
				if city, ok := capitals[string(word)]; ok {
					return nil, city
				}
			}
		}
		n = 0
	}
	if best < 0 {
		return &unknown, ""
	}
	return &topics[best], ""
}

// assist returns the built-in assistant's answer.
func (w *writer) assist(last string) string {
	if s, ok := w.sum(last); ok {
		return s
	}
	t, capital := w.m.topics.find(last)
	if capital != "" {
		w.intent = "geography"
		if w.choose(2) == 0 {
			return "The capital is " + capital + "."
		}
		return "It is " + capital + "."
	}
	w.intent = t.name
	w.refused = t.name == "refusal"
	said := t.answers[w.choose(len(t.answers))]
	if containsFold(last, "one sentence") || containsFold(last, "briefly") {
		if i := strings.Index(said, ". "); i >= 0 {
			said = said[:i+1]
		}
	}
	return said
}

// containsFold says whether s contains sub, which is in lower case, whatever the case of s.
func containsFold(s, sub string) bool {
	c := sub[0]
	for i := 0; i+len(sub) <= len(s); i++ {
		if s[i]|0x20 != c {
			continue
		}
		if strings.EqualFold(s[i:i+len(sub)], sub) {
			return true
		}
	}
	return false
}
