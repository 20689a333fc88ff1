// Runs a native mini-program from its folder: app.js, pages, templates, as the platform does.
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import vm from 'node:vm'

import {Screen} from './screen.mjs'
import {draw, parse} from './wxml.mjs'

export const folder = path.resolve(import.meta.dirname ?? path.dirname(new URL(import.meta.url).pathname), '../../../examples/miniprogram')

export function startWx(mini) {
  const config = JSON.parse(fs.readFileSync(path.join(folder, 'app.json')))
  const tabs = config.tabBar.list.map((t) => t.pagePath)
  const {wx} = mini
  let app, defining
  const definitions = {}
  const stack = [] // the pages that are open; the last one is seen
  const kept = {} // tabs that were opened

  const context = mini.context({
    App(own) {
      app = own
    },
    Page(own) {
      assert.ok(defining, 'Page() outside of a page')
      definitions[defining] = own
    },
    getApp: () => app,
    getCurrentPages: () => stack.slice(),
  })
  const modules = {}
  const load = (file) => {
    if (modules[file]) return modules[file].exports
    const module = (modules[file] = {exports: {}})
    const code = fs.readFileSync(path.join(folder, file), 'utf8')
    const run = vm.runInContext(`(function (require, module, exports) {${code}\n})`, context, {filename: file})
    run((to) => {
      assert.match(to, /^\.\.?\//, 'a mini-program requires by relative path')
      const found = path.join(path.dirname(file), to.endsWith('.js') ? to : to + '.js')
      assert.ok(!found.startsWith('..'), `${to} is outside of the mini-program`)
      return load(found)
    }, module, module.exports)
    return module.exports
  }

  const open = (route) => {
    assert.ok(config.pages.includes(route), `app.json has no page ${route}`)
    if (!definitions[route]) {
      defining = route
      load(route + '.js')
      defining = undefined
      definitions[route].tree = parse(fs.readFileSync(path.join(folder, route + '.wxml'), 'utf8'), route + '.wxml')
    }
    const {tree, data, ...own} = definitions[route]
    const page = {
      ...own, route, tree, alive: true, drawn: 0, data: JSON.parse(JSON.stringify(data ?? {})),
      setData(patch, done) {
        if (!page.alive) return
        page.drawn++
        for (const [key, value] of Object.entries(patch)) {
          assert.ok(value !== undefined, `setData of ${route}: ${key} is undefined, which the platform refuses`)
          assert.match(key, /^\w+$/, 'the tests know no paths in setData')
          page.data[key] = JSON.parse(JSON.stringify(value)) // it goes to another thread as text
        }
        done?.()
      },
    }
    return page
  }
  const top = () => stack.at(-1)
  const call = (page, name, ...args) => page?.[name]?.(...args)
  const close = (page) => {
    call(page, 'onUnload')
    page.alive = false
  }
  const enter = (page, fresh) => {
    stack.push(page)
    if (fresh) call(page, 'onLoad', {})
    if (top() !== page) return // it went on to another page
    call(page, 'onShow')
    if (fresh) call(page, 'onReady')
  }
  const at = (o) => o.url.replace(/^\//, '').split('?')[0]
  wx.switchTab = (o) => {
    const route = at(o)
    assert.ok(tabs.includes(route), `${route} is no tab`)
    while (stack.length) {
      const page = stack.pop()
      if (tabs.includes(page.route)) call(page, 'onHide')
      else close(page)
    }
    const fresh = !kept[route]
    enter((kept[route] ??= open(route)), fresh)
    o.success?.({errMsg: 'switchTab:ok'})
  }
  wx.reLaunch = (o) => {
    for (const page of new Set([...stack.splice(0), ...Object.values(kept)])) close(page)
    for (const route in kept) delete kept[route]
    enter(open(at(o)), true)
  }
  mini.hooks = {
    show() {
      app.onShow?.({})
      call(top(), 'onShow')
    },
    hide() {
      call(top(), 'onHide')
      app.onHide?.({})
    },
  }

  load('app.js')
  app.onLaunch?.({})
  app.onShow?.({})
  enter(open(config.pages[0]), true)
  const screen = new Screen(() => draw(top().tree, top().data, (name, event) => {
    assert.equal(typeof top()[name], 'function', `${top().route} has no ${name}`)
    return top()[name](event)
  }))
  return {
    kind: 'wx', mini, context, screen,
    client: () => app.client,
    page: () => top(),
    tab: (name) => wx.switchTab({url: `/pages/${name}/${name}`}),
    pull: () => top().onPullDownRefresh(),
  }
}
