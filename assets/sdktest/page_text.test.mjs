// What the chat page finds in a text: links, mentions, code, emoji, and how long it is.
import test from 'node:test'
import assert from 'node:assert/strict'
import {findLinks, findMentions, pieces, onlyEmoji, byteLength, sizeText, durationText} from '../web/links.js'

const links = (text) => findLinks(text).map(({start, end}) => text.slice(start, end))

test('links end where people mean them to end', () => {
  for (const [text, ...want] of [
    ['no link here'],
    ['http://a.example', 'http://a.example'],
    ['HTTPS://A.example/Path', 'HTTPS://A.example/Path'],
    ['see http://a.example/x?y=1&z=2#frag.', 'http://a.example/x?y=1&z=2#frag'],
    ['see http://a.example/x, and https://b.example!', 'http://a.example/x', 'https://b.example'],
    ['(http://a.example/x)', 'http://a.example/x'],
    ['(http://a.example/x).', 'http://a.example/x'],
    ['https://en.wikipedia.example/wiki/Tea_(drink)', 'https://en.wikipedia.example/wiki/Tea_(drink)'],
    ['(see https://en.wikipedia.example/wiki/Tea_(drink))', 'https://en.wikipedia.example/wiki/Tea_(drink)'],
    ['[http://a.example/x]', 'http://a.example/x'],
    ['http://[::1]:8040/', 'http://[::1]:8040/'],
    ['http://[::1]', 'http://[::1]'],
    ['<http://a.example/x>', 'http://a.example/x'],
    ['"http://a.example/x"', 'http://a.example/x'],
    ['**http://a.example/x**', 'http://a.example/x'],
    ['看http://192.168.1.5:8040/#room=%E5%A4%A7%E5%A0%82。', 'http://192.168.1.5:8040/#room=%E5%A4%A7%E5%A0%82'],
    ['链接（http://a.example/x）打不开', 'http://a.example/x'],
    ['链接http://a.example/x打不开', 'http://a.example/x'],
    ['《http://a.example/x》，“http://b.example/y”', 'http://a.example/x', 'http://b.example/y'],
    ['http://a.example/x；http://a.example/y！', 'http://a.example/x', 'http://a.example/y'],
    ['http://a.example/x\nhttp://a.example/y', 'http://a.example/x', 'http://a.example/y'],
    ['http://a.example/Чай', 'http://a.example/Чай'],
    ['http://a.example/...', 'http://a.example/'],
    ['xhttp://a.example'],
    ['http://'],
    ['https://.'],
    ['http://:80'],
    ['ftp://a.example javascript:alert(1) data:text/html,x mailto:a@b.example file:///etc/passwd'],
    ['javascript://a.example/%0aalert(1)'],
    ['http://bank.example@evil.example/ https://u:p@evil.example'],
  ]) assert.deepEqual(links(text), want, text)
})

test('the address of a link is what the browser makes of it', () => {
  assert.equal(findLinks('http://A.example/a b')[0].href, 'http://a.example/a')
  for (const {href} of findLinks('http://a.example/"onclick="x http://a.example/\'x')) assert.match(href, /^http:\/\/a\.example\/$/)
})

test('mentions', () => {
  const found = (text, ...names) => findMentions(text, names).map((m) => m.name)
  assert.deepEqual(found('hi @bob', 'bob'), ['bob'])
  assert.deepEqual(found('@bob, @阿明你好', 'bob', '阿明'), ['bob', '阿明'])
  assert.deepEqual(found('@bobby', 'bob'), [])
  assert.deepEqual(found('@bob你好', 'bob'), ['bob'])
  assert.deepEqual(found('@Big Bob!', 'Big', 'Big Bob'), ['Big Bob'])
  assert.deepEqual(found('write to alice@bob.example', 'bob', 'bob.example'), [])
  assert.deepEqual(found('@@bob @ bob', 'bob'), ['bob'])
  assert.deepEqual(found('@', '', 'bob'), [])
  assert.deepEqual(found('@a.b(c)*', 'a.b(c)*'), ['a.b(c)*'])
})

test('pieces are the whole text, with its code and its links', () => {
  const kinds = (text, names) => pieces(text, names).map((p) => [p.kind, p.text])
  assert.deepEqual(kinds('a\n  b'), [['text', 'a\n  b']])
  assert.deepEqual(kinds(''), [])
  assert.deepEqual(kinds('run `ls -l` now'), [['text', 'run '], ['code', 'ls -l'], ['text', ' now']])
  assert.deepEqual(kinds('```\n  a\n\n  b\n```\nend'), [['block', '  a\n\n  b'], ['text', 'end']])
  assert.deepEqual(kinds('```go\nx := 1\n```'), [['block', 'x := 1']])
  assert.deepEqual(kinds('```one line```'), [['block', 'one line']])
  assert.deepEqual(kinds('`http://a.example` @bob', ['bob']), [['code', 'http://a.example'], ['text', ' '], ['mention', '@bob']])
  assert.deepEqual(kinds('``` never closed'), [['text', '``` never closed']])
  assert.deepEqual(kinds('a ` b'), [['text', 'a ` b']])
  assert.deepEqual(kinds('``````'), [['text', '``````']])
  assert.deepEqual(kinds('http://a.example/@bob', ['bob']), [['link', 'http://a.example/@bob']])
  const odd = '<b>`<i>`</b> http://a.example/<script> @<u>'
  assert.equal(kinds(odd, ['<u>']).map((p) => p[1]).join(''), odd.replace(/`/g, ''))
})

test('a long text of whatever people send takes no time worth the word', () => {
  for (const piece of ['`', '```', '@', '@a ', 'http://', 'http://a.example/(', '((((', '\u{1f469}\u200d', '``` `', 'http://a.'])
  {
    const text = piece.repeat(Math.ceil(16384 / piece.length))
    const began = performance.now()
    pieces(text, ['a', 'b'])
    onlyEmoji(text)
    // A quadratic search over this takes some milliseconds, a cubic one minutes.
    assert.ok(performance.now() - began < 5000, piece)
  }
})

test('only emoji', () => {
  for (const [text, want] of [
    ['👍', 1], ['👍🏽', 1], ['❤️', 1], ['👩‍👩‍👧‍👦', 1], ['🏳️‍🌈', 1], ['🧑🏿‍🚀', 1], ['🇨🇳', 1], ['🇨🇳🇫🇷', 2],
    ['🏴󠁧󠁢󠁳󠁣󠁴󠁿', 1], ['1️⃣', 1], ['#⃣', 1], ['☝🏽', 1], ['🤷‍♀️', 1], ['🤷‍♀', 1], ['👍 👍\n👍', 3], ['❤️‍🔥', 1], ['🐦‍⬛', 1],
    ['', 0], [' ', 0], ['a', 0], ['👍a', 0], ['1', 0], ['12', 0], ['#', 0], ['*', 0], ['©', 0], ['™', 0], ['茶', 0],
    ['🇨', 0], ['\u200d', 0], ['👍!', 0], ['👍'.repeat(200), 0],
  ]) assert.equal(onlyEmoji(text), want, JSON.stringify(text))
})

test('bytes as the server counts them', () => {
  for (const text of ['', 'abc', 'é', '茶', '😀', 'a茶😀é\u07ff\u0800\uffff', '\ud800', '\udc00x', '\ud800\ud800\udc00']) {
    assert.equal(byteLength(text), new TextEncoder().encode(text).length, JSON.stringify(text))
  }
})

test('sizes and lengths for people', () => {
  for (const [n, want] of [[0, '0 B'], [999, '999 B'], [1000, '1 kB'], [1540, '1.5 kB'], [9960, '10 kB'], [999_499, '999 kB'],
    [999_500, '1 MB'], [20_000_000, '20 MB'], [2e9, '2 GB'], [5e15, '5000 TB'], [NaN, ''], [-1, ''], [undefined, '']]) assert.equal(sizeText(n), want)
  for (const [ms, want] of [[0, '0:00'], [499, '0:00'], [500, '0:01'], [59_600, '1:00'], [83_000, '1:23'], [3_723_000, '1:02:03'], [NaN, '']]) {
    if (want) assert.equal(durationText(ms), want)
  }
})
