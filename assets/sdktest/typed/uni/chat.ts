// The same in uni-app.
import {connect, mini} from 'teahouse-sdk'

const tea = connect({url: '192.168.1.5:8040', user: 'alice', platform: mini(uni)})
tea.inbox.on<{code: string}>('voucher.redeemed', (e) => uni.showToast({title: e.body.code}))
tea.on('state', (state) => {
  if (state.name === 'closed') uni.showModal({title: state.reason})
})
