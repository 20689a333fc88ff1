package api

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"teahouse/chat"
)

// words is how a code is put to a person. The English sentence comes with the
// error itself; detail is for errors that have none. precise says that the
// error's own sentence tells more than the Chinese one, so both are shown.
type words struct {
	title, detail     string
	titleZH, detailZH string
	precise           bool
	voucherZH         func(*chat.Voucher) string // instead of detailZH where the error is about a voucher
}

var wording = map[chat.Code]words{
	chat.CodeInternal:     {"Internal error", "something went wrong on the server; try again", "服务器内部错误", "服务器出了问题，请稍后重试。", false, nil},
	chat.CodeBadRequest:   {"Bad request", "the request is not valid", "请求无效", "请求的内容不正确，请检查后再试。", true, nil},
	chat.CodeBadTopic:     {"Bad topic", "the topic is not valid", "主题无效", "主题名称不正确，例如应为 room:lobby。", true, nil},
	chat.CodeBadUser:      {"Bad user id", "the user id is not valid", "用户名无效", "用户 ID 不正确。", true, nil},
	chat.CodeTooLarge:     {"Too large", "the request is too large", "内容过大", "提交的内容超过了允许的大小。", true, nil},
	chat.CodeUnauthorized: {"Unauthorized", "send a valid API key", "未授权", "请先登录，或者提供有效的 API 密钥或令牌（Authorization: Bearer …）。", false, nil},
	chat.CodeBadToken:     {"Bad token", "the token is not valid", "令牌无效", "令牌无效，请重新获取。", false, nil},
	chat.CodeTokenExpired: {"Token expired", "the token has expired", "令牌已过期", "令牌已过期，请重新获取。", false, nil},
	chat.CodeForbidden:    {"Forbidden", "this is not allowed with these credentials", "禁止访问", "当前身份无权进行此操作。", true, nil},
	chat.CodeNotFound:     {"Not found", "there is no such thing", "未找到", "请求的内容不存在。", false, nil},
	chat.CodeRateLimited:  {"Too many requests", "slow down", "请求过于频繁", "请求过于频繁，请稍后再试。", false, nil},
	chat.CodeKeyReused:    {"Key reused", "this key was used for another request", "密钥重复使用", "同一个幂等键已用于另一个不同的请求。", true, nil},
	chat.CodeGoingAway:    {"Going away", "the server is stopping; try again soon", "服务器正在停止", "服务器正在停止或重启，请稍后重试。", false, nil},
	chat.CodeBusy:         {"Busy", "the server is busy; try again soon", "服务器繁忙", "服务器繁忙，请稍后重试。", false, nil},
	chat.CodeStorageFull:  {"Storage full", "the server's disk is full", "存储空间已满", "服务器磁盘已满，暂时无法保存，请联系管理员。", false, nil},
	chat.CodeStorage:      {"Storage failed", "the server cannot save at the moment; try again", "存储失败", "服务器暂时无法保存数据，请稍后重试。", false, nil},
	chat.CodeStaffExists:  {"Account exists", "there is a staff account with this name", "账号已存在", "已经有同名的店员账号。", false, nil},
	chat.CodeSignIn:       {"Sign-in failed", "the name or the PIN is wrong", "登录失败", "姓名或 PIN 不正确。", false, nil},

	chat.CodeFileUnknown:   {"Unknown file", "there is no such file (any more)", "没有这个文件", "没有这个文件：可能已随消息撤回或到期删除，或者上传后一直没有发送。", false, nil},
	chat.CodeFileGone:      {"File content missing", "the content of this file is not on the server's disk", "文件内容缺失", "服务器上找不到这个文件的内容，请联系管理员。", false, nil},
	chat.CodeFileInUse:     {"File in use", "a message refers to this file", "文件正在使用", "已有消息引用这个文件，只有管理员可以删除。", false, nil},
	chat.CodeFileTooLarge:  {"File too large", "the file is too large", "文件过大", "文件超过了单个文件的大小限制。", true, nil},
	chat.CodeFilesFull:     {"No room for files", "there is no room for more files", "文件空间已满", "服务器存放文件的空间已满，请联系管理员。", false, nil},
	chat.CodeUploadUnknown: {"Unknown upload", "there is no such upload (any more)", "没有这个上传", "这个上传不存在或已过期，请重新上传。", false, nil},
	chat.CodeUploadOffset:  {"Wrong offset", "the upload stands at another place", "上传位置不符", "上传的进度与服务器不一致，请查询后继续。", false, nil},
	chat.CodeUploadBusy:    {"Upload busy", "another request sends this upload at the moment", "正在上传", "另一个请求正在上传这个文件，请稍后重试。", false, nil},
	chat.CodeUploadCut:     {"Upload cut off", "the bytes stopped coming", "上传中断", "上传中断，已收到的部分会保留，可以继续上传。", false, nil},

	chat.CodeVoucherUnknown:     {"Unknown voucher", "there is no voucher with this code", "没有这张券", "没有这张券。请核对券码：可能输错了一个字符，或者颠倒了两个字符。", false, nil},
	chat.CodeVoucherRedeemed:    {"Already redeemed", "this voucher was redeemed already", "已经核销过", "这张券已经核销过了。", false, redeemedZH("这张券已经核销过了：")},
	chat.CodeVoucherVoid:        {"Void", "this voucher was withdrawn", "券已作废", "这张券已作废，不能再使用。", false, nil},
	chat.CodeVoucherExpired:     {"Expired", "this voucher has expired", "券已过期", "这张券已过期。", false, expiredZH},
	chat.CodeVoucherNotRedeemed: {"Not redeemed", "this voucher is not redeemed", "尚未核销", "这张券没有核销过，不需要撤销。", false, nil},
	chat.CodeVoucherNotYours:    {"Another's redemption", "staff may reverse their own redemptions only", "不是本人核销", "只能撤销自己的核销。", false, redeemedZH("只能由核销人本人或管理员撤销。核销记录：")},
	chat.CodeReverseLate:        {"Too late to reverse", "this redemption is too old to be reversed", "超过撤销期限", "核销时间太久，已不能撤销。", false, redeemedZH("核销时间太久，已不能撤销。核销记录：")},
	chat.CodeReverseLimit:       {"Reversed too often", "this voucher was reversed too often", "撤销次数已满", "这张券的撤销次数已满（最多 " + strconv.Itoa(chat.MaxVoucherReversals) + " 次），不能再撤销。", false, nil},
	chat.CodePassStale:          {"Old pass", "ask for the owner's own page and scan that", "动态码无效", "动态码不对，或者早已过期。请顾客打开自己的券页面，再扫一次。", false, nil},
	chat.CodePassRequired:       {"Pass needed", "scan the QR code on the owner's own page", "需要动态码", "这里只有券码不够：请扫顾客自己券页面上的二维码（每半分钟会变），截图或打印件不行。", false, nil},
}

// redeemedZH says who, where and when.
func redeemedZH(before string) func(*chat.Voucher) string {
	return func(v *chat.Voucher) string {
		where := ""
		if v.Station != "" {
			where = "，" + v.Station
		}
		return before + v.RedeemedBy + where + "，" + timeZH(v.RedeemedAt) + "。"
	}
}

func expiredZH(v *chat.Voucher) string {
	return "这张券已于 " + timeZH(v.ExpiresAt) + " 过期。"
}

// timeZH is a time as the house's clocks show it.
func timeZH(ms int64) string { return time.UnixMilli(ms).Format("2006-01-02 15:04:05") }

func wordsOf(code chat.Code) words {
	w, ok := wording[code]
	if !ok {
		w.title = http.StatusText(code.Verdict().Status)
		w.detail = w.title
	}
	return w
}

// prefersChinese reads an Accept-Language header (RFC 9110, section 12.5.4):
// whether Chinese is asked for, and not less than English.
func prefersChinese(header string) bool {
	var zh, en float64
	for part := range strings.SplitSeq(header, ",") {
		tag, params, _ := strings.Cut(part, ";")
		q := 1.0
		if v, ok := strings.CutPrefix(strings.TrimSpace(params), "q="); ok {
			f, err := strconv.ParseFloat(v, 64)
			if err != nil {
				continue
			}
			q = f
		}
		lang, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(tag)), "-")
		switch lang {
		case "zh":
			zh = max(zh, q)
		case "en":
			en = max(en, q)
		}
	}
	// Of two that are wanted as much, the one that is named first counts.
	if zh == en {
		return zh > 0 && strings.Index(strings.ToLower(header), "zh") < strings.Index(strings.ToLower(header), "en")
	}
	return zh > en
}
