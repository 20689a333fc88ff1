package dnssd

import (
	"errors"

	"golang.org/x/net/dns/dnsmessage"
)

// message is what matters of a message from the network.
type message struct {
	id          uint16
	response    bool
	questions   []dnsmessage.Question
	answers     []dnsmessage.Resource // of a question: what is known already
	authorities []dnsmessage.Resource // of a question: what a prober wants to have
}

// parse reads a message. What the library cannot read, such as a name with a
// dot in a label, is left out: it is not ours. The rest still counts, because
// a phone asks for many services in one message.
func parse(packet []byte) (message, bool) {
	var p dnsmessage.Parser
	h, err := p.Start(packet)
	if err != nil || h.OpCode != 0 || h.RCode != 0 {
		return message{}, false
	}
	m := message{id: h.ID, response: h.Response}
	for {
		q, err := p.Question()
		if errors.Is(err, dnsmessage.ErrSectionDone) {
			break
		}
		if err != nil {
			if p.SkipQuestion() != nil {
				return m, true
			}
			continue
		}
		m.questions = append(m.questions, q)
	}
	ok := false
	if m.answers, ok = section(&p, p.AnswerHeader, p.SkipAnswer); !ok {
		return m, true
	}
	if m.authorities, ok = section(&p, p.AuthorityHeader, p.SkipAuthority); !ok || !m.response {
		return m, true
	}
	// Who answers may have put the record that matters beside the answer.
	more, _ := section(&p, p.AdditionalHeader, p.SkipAdditional)
	m.answers = append(m.answers, more...)
	return m, true
}

// section reads the records of a section that are of our types, and says
// whether the next one can be read.
func section(p *dnsmessage.Parser, header func() (dnsmessage.ResourceHeader, error), skip func() error) ([]dnsmessage.Resource, bool) {
	var out []dnsmessage.Resource
	for {
		h, err := header()
		if errors.Is(err, dnsmessage.ErrSectionDone) {
			return out, true
		}
		if err == nil && h.Class&^topBit == dnsmessage.ClassINET {
			if body := read(p, h.Type); body != nil {
				out = append(out, dnsmessage.Resource{Header: h, Body: body})
				continue
			}
		}
		if skip() != nil {
			return out, false
		}
	}
}

// read reads one record's data. It returns nil, and has read nothing, if that
// cannot be done.
func read(p *dnsmessage.Parser, t dnsmessage.Type) dnsmessage.ResourceBody {
	switch t {
	case dnsmessage.TypePTR:
		if r, err := p.PTRResource(); err == nil {
			return &r
		}
	case dnsmessage.TypeSRV:
		if r, err := p.SRVResource(); err == nil {
			return &r
		}
	case dnsmessage.TypeTXT:
		if r, err := p.TXTResource(); err == nil {
			return &r
		}
	case dnsmessage.TypeA:
		if r, err := p.AResource(); err == nil {
			return &r
		}
	}
	return nil
}
