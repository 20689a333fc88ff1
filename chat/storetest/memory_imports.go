package storetest

import (
	"context"

	"teahouse/chat"
)

// imported is an import with the chunks that are not issued yet.
type imported struct {
	chat.ImportState
	by   string
	hash [32]byte
	left [][]byte
}

func (m *Memory) imported(batch string) *imported {
	for _, i := range m.imports {
		if i.Batch == batch {
			return i
		}
	}
	return nil
}

// Import implements chat.Store.
func (m *Memory) Import(ctx context.Context, i chat.VoucherImport) (chat.ImportState, error) {
	at, end, err := m.begin(ctx)
	if err != nil {
		return chat.ImportState{}, err
	}
	defer end()
	chunks, hash := i.Chunks()
	if first := m.imported(i.Batch); first != nil {
		if first.hash != hash {
			return chat.ImportState{}, chat.ErrImportReused()
		}
		return first.ImportState, nil
	}
	n := &imported{chat.ImportState{Batch: i.Batch, Count: len(i.Rows), At: at}, i.By, hash, chunks}
	m.imports = append(m.imports, n)
	return n.ImportState, nil
}

// ImportState implements chat.Store.
func (m *Memory) ImportState(ctx context.Context, batch string) (chat.ImportState, error) {
	if err := gaveUp(ctx); err != nil {
		return chat.ImportState{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if i := m.imported(batch); i != nil {
		return i.ImportState, nil
	}
	return chat.ImportState{}, chat.Errorf(chat.CodeNotFound, "there is no import of this batch")
}

// IssueImported implements chat.Store.
func (m *Memory) IssueImported(ctx context.Context) (int, error) {
	at, end, err := m.begin(ctx)
	if err != nil {
		return 0, err
	}
	defer end()
	for _, i := range m.imports {
		if len(i.left) == 0 {
			continue
		}
		list, err := (&chat.VoucherImport{Batch: i.Batch, By: i.by}).Make(i.left[0], at)
		if err != nil {
			return 0, err
		}
		for _, c := range list {
			c.Voucher.ID = int64(len(m.vouchers)) + 1
			m.vouchers = append(m.vouchers, kept{Voucher: c.Voucher})
			m.record(&m.vouchers[len(m.vouchers)-1], c, at)
		}
		i.left, i.Issued = i.left[1:], i.Issued+len(list)
		return len(list), nil
	}
	return 0, nil
}
