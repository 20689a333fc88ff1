package main

import (
	"os"
	"strings"

	"teahouse/db"
)

// language is "zh" where the operator's locale says so, else "en".
func language() string {
	for _, name := range []string{"LC_ALL", "LC_MESSAGES", "LANG"} {
		if v := os.Getenv(name); v != "" {
			if strings.HasPrefix(strings.ToLower(v), "zh") {
				return "zh"
			}
			return "en"
		}
	}
	return "en"
}

// phrases are what an operator reads at the start. The ready line is not among
// them: programs wait for it.
type phrases struct {
	password, apiKey, once          string
	page, scan, loopback, noNetwork string
	push, pushBusy                  string
	portBusy, portDenied, portOther string
	open                            map[db.Reason]string // of the path; db's own English sentence where there is none
}

var words = map[string]phrases{
	"en": {
		password:   "operator's password: %s",
		apiKey:     "API key:             %s",
		once:       "Write them down: they are shown only this once. (--admin-password and --api-key set others.)",
		page:       "  phones and other computers open %s",
		scan:       "  or scan this code; devices must be in the same network",
		loopback:   "  only this computer can reach it; --addr :8040 opens it to the network",
		noNetwork:  "  no network was found; devices can connect when there is one",
		push:       "  programs on this computer push to %s without a key",
		pushBusy:   "another program (perhaps the old push server) listens at %s already; stop it or choose another port with --push-addr",
		portBusy:   "another program (perhaps Teahouse itself) listens at %s already; stop it or choose another port, for example --addr :8041",
		portDenied: "this user may not listen at %s; choose a port above 1023, for example --addr :8040",
		portOther:  "cannot listen at %s: %w; --addr takes HOST:PORT with an address of this computer",
	},
	"zh": {
		password:   "管理员密码:%s",
		apiKey:     "API 密钥:  %s",
		once:       "请记下来:它们只显示这一次。(可以用 --admin-password 和 --api-key 另行指定。)",
		page:       "  手机和其他电脑请打开 %s",
		scan:       "  或者扫描这个二维码;设备需要在同一个网络里",
		loopback:   "  只有本机能访问;用 --addr :8040 向局域网开放",
		noNetwork:  "  没有找到网络;联网后其他设备即可访问",
		push:       "  本机程序可以不带密钥向 %s 推送",
		pushBusy:   "已经有别的程序(也许就是旧的推送服务)在监听 %s;请先停掉它,或者用 --push-addr 换一个端口",
		portBusy:   "已经有别的程序(也许就是茶馆自己)在监听 %s;请先停掉它,或者换一个端口,例如 --addr :8041",
		portDenied: "当前用户不能监听 %s;请选择 1023 以上的端口,例如 --addr :8040",
		portOther:  "无法监听 %s:%w;--addr 的格式是 主机:端口,地址必须属于本机",
		open: map[db.Reason]string{
			db.NotWritable: "数据目录无法写入:%s;请修改权限,或者用 --data 指定别的目录",
			db.DiskFull:    "%s 所在的磁盘已满;请清理空间后重新启动",
			db.Locked:      "数据库 %s 正被另一个进程使用;请先停掉它,或者用 --data 指定别的目录",
			db.Damaged:     "数据库 %s 已损坏;请把它移走,换上备份(升级前的副本可能就在旁边,文件名以 .bak 结尾)",
			db.Foreign:     "%s 是别的程序的数据库,没有改动它;请用 --data 指定别的目录",
			db.NewerSchema: "数据库 %s 是由更新版本的程序写入的;请安装新版本,或者换上升级前的副本",
		},
	},
}
