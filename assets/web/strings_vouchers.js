// The texts of the owner's page, in both languages.

export const voucherStrings = {
  zh: {
    v_title: '我的券', v_page: '我的券 · 茶馆', v_intro: '报上名字，看您的券。', v_intro_token: '请打开发给您的链接，或者把口令贴在这里。', v_enter: '查看',
    v_usable: '可用', v_used: '已用', v_gone: '失效', v_none_usable: '现在没有可用的券。有新券会自动出现在这里。', v_none_used: '还没有用过券。', v_none_gone: '没有失效的券。',
    v_loading: '正在取您的券…', v_not_proved: '这里证明不了您是谁，所以列不出您的券。请用发给您的链接打开本页；新到的券仍会即时出现。', v_failed: '没取到您的券：{why}',
    v_live: '实时', v_offline: '连不上服务器', v_old: '现在连不上服务器，下面是{ago}的样子。二维码照常能用。', v_old_never: '现在连不上服务器，这台设备上还没有存过您的券。', v_try: '重试',
    v_ago_now: '刚才', v_ago_minutes: '{n} 分钟前', v_ago_hours: '{n} 小时前', v_ago_days: '{n} 天前',
    v_days: '还剩 {n} 天', v_hours: '还剩 {h} 小时 {m} 分', v_minutes: '还剩 {m} 分 {s} 秒', v_seconds: '还剩 {s} 秒', v_no_end: '长期有效',
    v_show: '出示', v_back: '返回', v_qr: '「{name}」的二维码', v_pass: '动态码', v_pass_new: '{n} 秒后换新', v_code: '券码', v_note: '备注', v_ref: '编号', v_shot: '二维码每 30 秒换一次，截图无效。',
    v_redeemed: '已核销', v_void: '已作废', v_expired: '已过期', v_station: '地点', v_by: '经手人', v_issued_at: '发放时间', v_when: '时间', v_owner: '持券人',
    v_news: '您不在的时候', v_news_redeemed: '「{name}」已核销（{at}）', v_news_redeemed_where: '「{name}」已核销：{where}（{at}）', v_news_issued: '新到一张券：「{name}」', v_news_reversed: '「{name}」的核销撤销了，可以再用', v_news_void: '「{name}」已作废', v_news_expired: '「{name}」已过期',
    v_seen: '知道了', v_told: '「{name}」已核销。', v_leave: '退出', v_leave_sure: '退出后，这台设备上存的券会清除；下次联网登录会再取回来。要退出吗？',
  },
  en: {
    v_title: 'My vouchers', v_page: 'My vouchers · Teahouse', v_intro: 'Tell us your name to see your vouchers.', v_intro_token: 'Open the link that you were given, or paste your token here.', v_enter: 'Show them',
    v_usable: 'Usable', v_used: 'Used', v_gone: 'Void', v_none_usable: 'There is nothing to use right now. A new voucher appears here by itself.', v_none_used: 'Nothing was used yet.', v_none_gone: 'Nothing is void or expired.',
    v_loading: 'Fetching your vouchers…', v_not_proved: 'Nothing here proves who you are, so your vouchers cannot be listed. Please open this page with the link that you were given. New ones still appear at once.', v_failed: 'Your vouchers did not come: {why}',
    v_live: 'Live', v_offline: 'Server not reached', v_old: 'The server cannot be reached. This is how it was {ago}. The QR codes still work.', v_old_never: 'The server cannot be reached, and nothing of yours is kept on this device yet.', v_try: 'Try again',
    v_ago_now: 'just now', v_ago_minutes: '{n} min ago', v_ago_hours: '{n} h ago', v_ago_days: '{n} days ago',
    v_days: '{n} days left', v_hours: '{h} h {m} min left', v_minutes: '{m} min {s} s left', v_seconds: '{s} s left', v_no_end: 'No end',
    v_show: 'Show', v_back: 'Back', v_qr: 'QR code of “{name}”', v_pass: 'Pass', v_pass_new: 'new in {n} s', v_code: 'Code', v_note: 'Note', v_ref: 'No.', v_shot: 'It changes every 30 seconds: a screenshot does not work.',
    v_redeemed: 'Redeemed', v_void: 'Withdrawn', v_expired: 'Expired', v_station: 'Where', v_by: 'By', v_issued_at: 'Issued', v_when: 'When', v_owner: 'Owner',
    v_news: 'While you were away', v_news_redeemed: '“{name}” was redeemed ({at})', v_news_redeemed_where: '“{name}” was redeemed at {where} ({at})', v_news_issued: 'A new voucher: “{name}”', v_news_reversed: 'The redemption of “{name}” was undone: it can be used again', v_news_void: '“{name}” was withdrawn', v_news_expired: '“{name}” has expired',
    v_seen: 'Got it', v_told: '“{name}” is redeemed.', v_leave: 'Sign out', v_leave_sure: 'What is kept of your vouchers on this device is cleared; it comes again when you next sign in. Sign out?',
  },
}
