// A mini-program's page in TypeScript, with the platform's own types.
import {connect, discover, mini, type Client, type TeaEvent} from 'teahouse-sdk'

let tea: Client

App({
  async onLaunch() {
    const found = await discover({timeout: 2000, platform: mini(wx)}).catch(() => [])
    tea = connect({url: found[0]?.url ?? '192.168.1.5:8040', user: 'alice', platform: mini(wx)})
  },
})

Page({
  data: {messages: [] as TeaEvent<{text: string}>[]},
  onLoad() {
    tea.room('lobby').on<{text: string}>('message', (e) => this.setData({messages: [...this.data.messages, e]}))
    tea.on('state', (state) => void wx.setNavigationBarTitle({title: state.name}))
  },
})
