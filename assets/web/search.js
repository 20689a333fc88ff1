// Search in the open room. The server looks through a part of the log in each call.
import {$, el, avatar} from './dom.js'
import {t, fullTime, shortTime, why} from './i18n.js'

const ENOUGH = 20 // hits of one go
const CALLS = 12 // of one go

export function makeSearch(house) {
  let asked = 0 // the latest question: answers to others are not wanted
  let before // where the next go begins
  let text = ''
  let n = 0

  function close(giveFocus = false) {
    if ($('search').hidden) return false
    asked++
    $('search').hidden = true
    $('search-button').setAttribute('aria-expanded', 'false')
    clear()
    $('search-text').value = ''
    if (giveFocus) $('search-button').focus()
    return true
  }

  function clear() {
    n = 0
    before = undefined
    $('hits').textContent = ''
    $('search-state').textContent = ''
    $('search-more').hidden = true
    $('search').classList.remove('folded')
  }

  function begin() {
    const wanted = $('search-text').value.trim()
    $('search').classList.remove('folded')
    if (wanted === text && $('search-state').textContent) return
    text = wanted
    asked++
    clear()
    if (text) more()
  }

  async function more() {
    const room = house.open()
    const mine = ++asked
    const had = n
    $('search-state').textContent = t('searching')
    $('search-more').hidden = true
    try {
      for (let call = 0; call < CALLS; call++) {
        const page = await room.topicOf().search(text, {before, limit: ENOUGH})
        if (mine !== asked) return
        for (const e of page.events.reverse()) $('hits').append(hit(e))
        n += page.events.length
        before = page.before
        $('search-more').hidden = !page.more
        if (!page.more || n - had >= ENOUGH) break
      }
      $('search-state').textContent = n ? t('hits', {n}) : t($('search-more').hidden ? 'no_hits' : 'no_hits_yet')
    } catch (err) {
      if (mine !== asked) return
      $('search-state').textContent = t('search_failed', {why: why(err)})
      $('search-more').hidden = false
    }
  }

  function hit(e) {
    const button = el('button', {type: 'button', class: 'row', data: {hit: e.seq}},
      avatar(e.from || '茶'), el('span', {class: 'row-name', dir: 'auto'}, e.from), el('time', {title: fullTime(e.at)}, shortTime(e.at)),
      el('span', {class: 'row-line', dir: 'auto'}, ...marked(String((e.body && e.body.text) || ''))))
    button.addEventListener('click', async () => {
      $('search').classList.add('folded') // the words stay, the list makes room
      await house.jump(e.seq)
    })
    return el('li', {}, button)
  }

  /** The line around the first place where it was found, with a mark. */
  function marked(line) {
    const flat = line.replace(/\s+/g, ' ')
    // Lower case may be longer than upper case in some scripts; then the mark is left out.
    const small = flat.toLowerCase()
    const at = small.length === flat.length ? small.indexOf(text.toLowerCase()) : -1
    if (at < 0) return [flat]
    const from = Math.max(0, at - 24)
    return [(from ? '…' : '') + flat.slice(from, at), el('mark', {}, flat.slice(at, at + text.length)), flat.slice(at + text.length)]
  }

  $('search-button').addEventListener('click', () => {
    if (close(true)) return
    $('search').hidden = false
    $('search-button').setAttribute('aria-expanded', 'true')
    $('search-text').focus()
  })
  $('search').querySelector('.close').addEventListener('click', () => close(true))
  $('search-form').addEventListener('submit', (e) => {
    e.preventDefault()
    begin()
  })
  let typing = 0
  $('search-text').addEventListener('input', (e) => {
    clearTimeout(typing)
    if (!e.isComposing) typing = setTimeout(begin, 350)
  })
  $('search-text').addEventListener('compositionend', begin)
  $('search-text').addEventListener('focus', () => $('search').classList.remove('folded'))
  $('search-more').addEventListener('click', more)
  return {close}
}
