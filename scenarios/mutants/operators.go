package mutants

import (
	"fmt"
	"go/ast"
	"go/constant"
	"go/token"
	"go/types"
	"regexp"
	"slices"
	"strings"
)

// An Operator changes code in one way. It finds its places in a function in
// the order of the source; the change at each is told from those at the
// others by its number.
type Operator struct {
	Name  string
	About string
	find  func(*place)
}

// Operators, in the order in which they take turns when mutants are chosen.
var Operators = []Operator{
	{"drop-sync", "a sync or flush is not done, and said to have worked", dropSync},
	{"retry-sync", "a sync or write that failed is tried again, and what it says then is believed", retrySync},
	{"ignore-error", "an error is not acted upon", ignoreError},
	{"ack-first", "others are told before the write that it is about", ackFirst},
	{"swap-statements", "two operations that follow each other change places", swapStatements},
	{"skip-integrity", "a comparison of a checksum, digest or root never fails", skipIntegrity},
	{"skip-dedup", "what was seen before is taken for new", skipDedup},
	{"skip-generation", "a comparison of generations, claims, lives or leases always passes", skipGeneration},
	{"off-by-one", "a bound or number is off by one", offByOne},
	{"lose-field", "a field is left out where state is saved, loaded or handed over", loseField},
	{"wrong-order", "the order of a list is another one", wrongOrder},
	{"swap-cases", "two guards of a switch change places", swapCases},
	{"forget", "something is not noted", forget},
	{"forget-nonce", "a nonce or its time of signing is not kept or not looked at", forgetNonce},
	{"negate", "a guard says the opposite", negate},
	{"drop-send", "a message is not sent", dropSend},
	{"drop-timer", "a timer is not set or not stopped", dropTimer},
	{"drop-file-op", "a rename, removal, truncation or allocation is not done, and said to have worked", dropFileOp},
	{"return-early", "a function returns before its last statement", returnEarly},
	{"stale-cache", "something is not forgotten", staleCache},
	{"wrong-constant", "a constant is another one", wrongConstant},
	{"swap-arguments", "two arguments or values of one type change places", swapArguments},
	{"lie", "a fact says that something was done that was left out", lie},
}

// site is one change that an operator found.
type site struct {
	at    token.Pos
	what  string
	edits []edit
}

// place is a function, or the constants of a file, in which an operator looks.
type place struct {
	s     *source
	f     *sourceFile
	name  string // of the function
	node  ast.Node
	body  *ast.BlockStmt // nil: constants
	sites []site
}

func (p *place) offset(pos token.Pos) int { return p.s.fset.Position(pos).Offset }

func (p *place) text(n ast.Node) string {
	return string(p.f.text[p.offset(n.Pos()):p.offset(n.End())])
}

// brief is a node on one line.
func (p *place) brief(n ast.Node) string {
	s := strings.Join(strings.Fields(p.text(n)), " ")
	if r := []rune(s); len(r) > 70 {
		s = string(r[:67]) + "…"
	}
	return "`" + s + "`"
}

func (p *place) replace(n ast.Node, text string) edit {
	return edit{p.offset(n.Pos()), p.offset(n.End()), text}
}

func (p *place) found(at ast.Node, what string, edits ...edit) {
	p.sites = append(p.sites, site{at.Pos(), what, edits})
}

// inspect walks the function.
func (p *place) inspect(visit func(ast.Node) bool) { ast.Inspect(p.node, visit) }

// lists calls visit with each list of statements.
func (p *place) lists(visit func([]ast.Stmt)) {
	p.inspect(func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.BlockStmt:
			visit(n.List)
		case *ast.CaseClause:
			visit(n.Body)
		}
		return true
	})
}

// called is the last name of what a call calls; empty for built-in functions
// and conversions.
func (p *place) called(c *ast.CallExpr) string {
	switch f := ast.Unparen(c.Fun).(type) {
	case *ast.Ident:
		if _, ok := p.s.info.Uses[f].(*types.Builtin); ok || p.s.info.Types[f].IsType() {
			return ""
		}
		return f.Name
	case *ast.SelectorExpr:
		return f.Sel.Name
	}
	return ""
}

var errorType = types.Universe.Lookup("error").Type()

// isError says whether an expression is one error.
func (p *place) isError(e ast.Expr) bool {
	t := p.s.info.Types[e].Type
	return t != nil && types.Identical(t, errorType)
}

// calls says whether a node has a call with a name that matches, outside of
// functions that it defines.
func (p *place) calls(n ast.Node, names *regexp.Regexp) bool {
	found := false
	ast.Inspect(n, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit:
			return false
		case *ast.CallExpr:
			found = found || names.MatchString(p.called(n))
		}
		return !found
	})
	return found
}

var (
	syncs   = regexp.MustCompile(`^(Sync|SyncDir|flush|Flush|sync)$`)
	durable = regexp.MustCompile(`^(Sync|SyncDir|flush|Flush|sync|WriteFull|append|step|event|Save|Commit|Rename|settle|mark|write|copy|keep)$`)
	fileOps = regexp.MustCompile(`^(Rename|Remove|Truncate|TruncateBefore|Allocate)$`)
	tells   = regexp.MustCompile(`^(Send|send|answer|declare|tell|publish|Record|acknowledge|outcome|announce|Put|appended|push|refused)$`)
	sends   = regexp.MustCompile(`^(Send|send|answer|publish|acknowledge|outcome|announce|Put|push|hand|ask|report|sendPacket|sendCross|sendStep|decide|offer)$`)
	timers  = regexp.MustCompile(`^(SetTimer|StopTimer|promptly|soon|rest|arm)$`)
	notes   = regexp.MustCompile(`^(add|remember|note|noted|insert|keep|put|Save|save|load|cache|skip|give|vouch|published|reached)$`)
	clears  = regexp.MustCompile(`^(forget|Reset|reset|release|remove|discard|setAside|restore|close|dropMark|trim)$`)
	facts   = regexp.MustCompile(`^(Record|declare|tell|appended|ended)$`)
	effects = regexp.MustCompile(`^(Sync|SyncDir|flush|Flush|sync|WriteFull|append|step|event|Save|save|Commit|Rename|Remove|Truncate|TruncateBefore|Send|send|push|restore|restored|remove|release|give|cache|forget|add|set|Reset|publish|enter|load|decide|hand|trim|stage|Settle)$`)
)

func dropSync(p *place) {
	p.inspect(func(n ast.Node) bool {
		if c, ok := n.(*ast.CallExpr); ok && syncs.MatchString(p.called(c)) && p.isError(c) {
			p.found(c, p.brief(c)+" is not called, and worked", p.replace(c, "error(nil)"))
		}
		return true
	})
}

func dropFileOp(p *place) {
	p.inspect(func(n ast.Node) bool {
		if c, ok := n.(*ast.CallExpr); ok && fileOps.MatchString(p.called(c)) && p.isError(c) {
			p.found(c, p.brief(c)+" is not called, and worked", p.replace(c, "error(nil)"))
		}
		return true
	})
}

func retrySync(p *place) {
	p.inspect(func(n ast.Node) bool {
		// A log that a failure has poisoned says so again: only the disk's own
		// answer is another one the second time.
		if c, ok := n.(*ast.CallExpr); ok && syncs.MatchString(p.called(c)) && p.isError(c) && p.isDisk(c) {
			t := p.text(c)
			p.found(c, p.brief(c)+" is called again when it fails",
				p.replace(c, "func() error { if "+t+" == nil { return nil }; return "+t+" }()"))
		}
		return true
	})
}

// isDisk says whether what is called is a method of package actor's files, and
// no log's.
func (p *place) isDisk(c *ast.CallExpr) bool {
	f, ok := c.Fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	o := p.s.info.Uses[f.Sel]
	return o != nil && o.Pkg() != nil && (o.Pkg().Name() == "actor" || p.s.pkg == "snippet")
}

func ignoreError(p *place) {
	p.inspect(func(n ast.Node) bool {
		i, ok := n.(*ast.IfStmt)
		if !ok || i.Else != nil || len(i.Body.List) == 0 {
			return true
		}
		b, ok := i.Cond.(*ast.BinaryExpr)
		if !ok || b.Op != token.NEQ || !p.isError(b.X) || p.text(b.Y) != "nil" || !leaves(i.Body) {
			return true
		}
		what := ast.Node(i.Cond)
		if i.Init != nil {
			what = i.Init
		}
		p.found(i, "the error of "+p.brief(what)+" is not acted upon", p.replace(i.Body, "{}"))
		return true
	})
}

// leaves says whether a block ends by leaving the function or the iteration.
func leaves(b *ast.BlockStmt) bool {
	if len(b.List) == 0 {
		return false
	}
	switch b.List[len(b.List)-1].(type) {
	case *ast.ReturnStmt, *ast.BranchStmt:
		return true
	}
	return false
}

func (p *place) statementCall(s ast.Stmt) *ast.CallExpr {
	if e, ok := s.(*ast.ExprStmt); ok {
		if c, ok := e.X.(*ast.CallExpr); ok {
			return c
		}
	}
	return nil
}

func ackFirst(p *place) {
	p.lists(func(list []ast.Stmt) {
		for j := 1; j < len(list); j++ {
			c := p.statementCall(list[j])
			if c == nil || !tells.MatchString(p.called(c)) {
				continue
			}
			for i := j - 1; i >= 0; i-- {
				if p.calls(list[i], durable) {
					at := p.offset(list[i].Pos())
					p.found(list[j], p.brief(list[j])+" comes before "+p.brief(list[i]),
						edit{at, at, p.text(list[j]) + "\n"}, p.replace(list[j], ""))
					break
				}
			}
		}
	})
}

func swapStatements(p *place) {
	op := func(s ast.Stmt) bool {
		switch s.(type) {
		case *ast.ExprStmt, *ast.AssignStmt, *ast.IfStmt:
			return p.calls(s, effects) || p.calls(s, tells) || p.calls(s, timers) || p.calls(s, fileOps) || p.calls(s, durable)
		}
		return false
	}
	p.lists(func(list []ast.Stmt) {
		for i := 0; i+1 < len(list); i++ {
			if a, b := list[i], list[i+1]; op(a) && op(b) && p.text(a) != p.text(b) {
				p.found(a, p.brief(a)+" and "+p.brief(b)+" change places", p.replace(a, p.text(b)), p.replace(b, p.text(a)))
			}
		}
	})
}

// guards calls visit with each condition of an if or of a switch's case.
func (p *place) guards(visit func(cond ast.Expr, body []ast.Stmt)) {
	p.inspect(func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.IfStmt:
			visit(n.Cond, n.Body.List)
		case *ast.SwitchStmt:
			if n.Tag == nil {
				for _, c := range n.Body.List {
					for _, e := range c.(*ast.CaseClause).List {
						visit(e, c.(*ast.CaseClause).Body)
					}
				}
			}
		}
		return true
	})
}

var integrity = regexp.MustCompile(`(?i)\b(sum|crc|sha256|root|digest)\b|Sum\b|Sha256|Root\b|ConstantTimeCompare|bytes\.Equal|errZero|checkPlace|Previous|\.Segment\b|\.Marker\b|Verify`)

func skipIntegrity(p *place) {
	p.guards(func(cond ast.Expr, _ []ast.Stmt) {
		if integrity.MatchString(p.text(cond)) {
			p.found(cond, p.brief(cond)+" is never so", p.replace(cond, "false && ("+p.text(cond)+")"))
		}
	})
	p.inspect(func(n ast.Node) bool {
		if c, ok := n.(*ast.CallExpr); ok && strings.HasPrefix(strings.ToLower(p.called(c)), "verify") && p.isError(c) {
			p.found(c, p.brief(c)+" is not called, and found nothing", p.replace(c, "error(nil)"))
		}
		return true
	})
}

var identity = regexp.MustCompile(`(?i)(\.id\b|\bid\b|\.ID\b|Id\b) == |== .*(\.id\b|\bid\b|\.ID\b|Id\b)|waiting\[|seen\[|reported\[|\bused\b|\bdup|DUPLICATE|\.reported\b|\.done\b|\.told\b|\.confirmed\b|\.has\.|\*has`)

func skipDedup(p *place) {
	p.inspect(func(n ast.Node) bool {
		i, ok := n.(*ast.IfStmt)
		if !ok {
			return true
		}
		if a, ok := i.Init.(*ast.AssignStmt); ok && len(a.Lhs) == 2 && p.text(i.Cond) == p.text(a.Lhs[1]) {
			if _, ok := a.Rhs[0].(*ast.IndexExpr); ok {
				p.found(i, p.brief(a)+" finds nothing", p.replace(i.Cond, "false && "+p.text(i.Cond)))
			}
		}
		return true
	})
	p.guards(func(cond ast.Expr, _ []ast.Stmt) {
		if identity.MatchString(p.text(cond)) {
			p.found(cond, p.brief(cond)+" is never so", p.replace(cond, "false && ("+p.text(cond)+")"))
		}
	})
}

var age = regexp.MustCompile(`(?i)generation|\bgen\b|claim|incarnation|lease|\blife\b|\bserial\b|\bstart\b|standing`)

func skipGeneration(p *place) {
	p.inspect(func(n ast.Node) bool {
		b, ok := n.(*ast.BinaryExpr)
		if !ok || !age.MatchString(p.text(b)) || age.FindString(p.text(b.X)) == "" && age.FindString(p.text(b.Y)) == "" {
			return true
		}
		switch b.Op {
		case token.EQL:
			p.found(b, p.brief(b)+" is always so", p.replace(b, "(true || "+p.text(b)+")"))
		case token.NEQ, token.LSS, token.GTR, token.LEQ, token.GEQ:
			p.found(b, p.brief(b)+" is never so", p.replace(b, "(false && "+p.text(b)+")"))
		}
		return true
	})
}

func (p *place) isInteger(e ast.Expr) bool {
	t := p.s.info.Types[e].Type
	if t == nil {
		return false
	}
	b, ok := t.Underlying().(*types.Basic)
	return ok && b.Info()&types.IsInteger != 0
}

func (p *place) literal(e ast.Expr) string {
	if l, ok := e.(*ast.BasicLit); ok {
		return l.Value
	}
	return ""
}

func offByOne(p *place) {
	shifted := map[token.Token]string{token.LSS: "<=", token.LEQ: "<", token.GTR: ">=", token.GEQ: ">"}
	p.inspect(func(n ast.Node) bool {
		b, ok := n.(*ast.BinaryExpr)
		if !ok || !p.isInteger(b.X) {
			return true
		}
		if to := shifted[b.Op]; to != "" && p.literal(b.Y) != "0" {
			p.found(b, p.brief(b)+" has "+to, edit{p.offset(b.OpPos), p.offset(b.OpPos) + len(b.Op.String()), to})
		}
		if (b.Op == token.ADD || b.Op == token.SUB) && p.literal(b.Y) == "1" {
			p.found(b, p.brief(b)+" lacks its 1", p.replace(b, p.text(b.X)))
		}
		return true
	})
}

var carriers = regexp.MustCompile(`(?i)^(.*\.)?(save|load|restore|restored|own|put|proto|.*from|record|newSnapshot|saveEntries|append|request|snapshot|keep|take|add|change|remember|write|replay|note|context|prepare|prepareCrossing|part|info|create|moveTail|sort|accept|Open|open|move|read|stage|offer|Begin|hand|pump|rotate|flush|send|made)$`)

func loseField(p *place) {
	if !carriers.MatchString(p.name) {
		return
	}
	p.inspect(func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CompositeLit:
			for i, e := range n.Elts {
				kv, ok := e.(*ast.KeyValueExpr)
				if !ok {
					return true
				}
				if _, field := kv.Key.(*ast.Ident); !field {
					return true
				}
				to := p.offset(kv.End())
				if i+1 < len(n.Elts) {
					to = p.offset(n.Elts[i+1].Pos())
				} else if i > 0 {
					p.found(kv, p.brief(kv)+" is left out", edit{p.offset(n.Elts[i-1].End()), to, ""})
					continue
				}
				p.found(kv, p.brief(kv)+" is left out", edit{p.offset(kv.Pos()), to, ""})
			}
		case *ast.AssignStmt:
			if n.Tok != token.ASSIGN || len(n.Lhs) != len(n.Rhs) {
				return true
			}
			for _, l := range n.Lhs {
				if _, ok := l.(*ast.SelectorExpr); !ok {
					continue
				}
				if len(n.Lhs) == 1 {
					p.found(n, p.brief(n)+" is left out", p.replace(n, "_ = "+p.text(n.Rhs[0])))
					continue
				}
				p.found(l, p.brief(l)+" is not set", p.replace(l, "_"))
			}
		}
		return true
	})
}

func wrongOrder(p *place) {
	p.inspect(func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CompositeLit:
			t := p.s.info.Types[n].Type
			if t == nil || len(n.Elts) < 2 {
				return true
			}
			switch t.Underlying().(type) {
			case *types.Slice, *types.Array:
				a, b := n.Elts[0], n.Elts[1]
				if _, keyed := a.(*ast.KeyValueExpr); !keyed && p.text(a) != p.text(b) {
					p.found(n, p.brief(a)+" and "+p.brief(b)+" change places", p.replace(a, p.text(b)), p.replace(b, p.text(a)))
				}
			}
		case *ast.CallExpr:
			name := p.text(n.Fun)
			switch {
			case name == "strings.Compare" || name == "cmp.Compare" || name == "bytes.Compare":
				p.found(n, p.brief(n)+" compares the other way round", p.replace(n.Args[0], p.text(n.Args[1])), p.replace(n.Args[1], p.text(n.Args[0])))
			case name == "sort.Slice" && len(n.Args) == 2:
				if f, ok := n.Args[1].(*ast.FuncLit); ok && len(f.Body.List) == 1 {
					if r, ok := f.Body.List[0].(*ast.ReturnStmt); ok && len(r.Results) == 1 {
						p.found(n, p.brief(n.Args[0])+" is sorted the other way round", p.replace(r.Results[0], "!("+p.text(r.Results[0])+")"))
					}
				}
			}
		case *ast.ExprStmt:
			if c := p.statementCall(n); c != nil && (p.text(c.Fun) == "slices.Reverse" || strings.HasPrefix(p.text(c.Fun), "sort.") || strings.HasPrefix(p.text(c.Fun), "slices.Sort")) {
				p.found(n, p.brief(n)+" is left out", p.replace(n, ""))
			}
		case *ast.ForStmt:
			// from the first to the last: from the last to the first
			init, ok1 := n.Init.(*ast.AssignStmt)
			cond, ok2 := n.Cond.(*ast.BinaryExpr)
			post, ok3 := n.Post.(*ast.IncDecStmt)
			if ok1 && ok2 && ok3 && len(init.Lhs) == 1 && p.text(init.Rhs[0]) == "0" && cond.Op == token.LSS && post.Tok == token.INC {
				v := p.text(init.Lhs[0])
				p.found(n, "the loop over "+p.brief(cond)+" runs backwards", p.replace(init.Rhs[0], p.text(cond.Y)+" - 1"),
					p.replace(cond, v+" >= 0"), p.replace(post, v+"--"))
			}
		}
		return true
	})
	p.lists(func(list []ast.Stmt) {
		for _, s := range list {
			r, ok := s.(*ast.RangeStmt)
			if !ok || r.Value == nil || r.Tok != token.DEFINE || r.Key == nil || p.text(r.Key) != "_" {
				continue
			}
			if _, ok := p.s.info.Types[r.X].Type.Underlying().(*types.Slice); !ok || !p.calls(r.Body, effects) && !p.calls(r.Body, tells) {
				continue
			}
			v := p.text(r.Value)
			p.found(r, "the loop over "+p.brief(r.X)+" runs backwards",
				edit{p.offset(r.Pos()), p.offset(r.Body.Lbrace) + 1,
					fmt.Sprintf("for backwards := len(%s) - 1; backwards >= 0 && backwards < len(%s); backwards-- {\n%s := %s[backwards]", p.text(r.X), p.text(r.X), v, p.text(r.X))})
		}
	})
}

func swapCases(p *place) {
	p.inspect(func(n ast.Node) bool {
		sw, ok := n.(*ast.SwitchStmt)
		if !ok || sw.Tag != nil {
			return true
		}
		for i := 0; i+1 < len(sw.Body.List); i++ {
			a, b := sw.Body.List[i].(*ast.CaseClause), sw.Body.List[i+1].(*ast.CaseClause)
			if a.List == nil || b.List == nil || refuses(p, a) && refuses(p, b) {
				continue
			}
			p.found(a, "case "+p.brief(a.List[0])+" comes after case "+p.brief(b.List[0]),
				p.replace(a, p.text(b)+"\n"), p.replace(b, p.text(a)+"\n"))
		}
		return true
	})
}

// refuses says whether a case does nothing but return an error: which of two
// errors it is matters to no protocol.
func refuses(p *place, c *ast.CaseClause) bool {
	if len(c.Body) != 1 {
		return false
	}
	r, ok := c.Body[0].(*ast.ReturnStmt)
	if !ok || len(r.Results) == 0 {
		return false
	}
	t := p.s.info.Types[r.Results[len(r.Results)-1]].Type
	return t != nil && types.Implements(t, errorType.Underlying().(*types.Interface))
}

func forget(p *place) {
	p.lists(func(list []ast.Stmt) {
		for _, s := range list {
			if c := p.statementCall(s); c != nil {
				if notes.MatchString(p.called(c)) && p.called(c) != "reached" && !strings.Contains(p.text(c.Fun), "nonce") {
					p.found(s, p.brief(s)+" is left out", p.replace(s, ""))
				}
				continue
			}
			a, ok := s.(*ast.AssignStmt)
			if !ok || a.Tok != token.ASSIGN || len(a.Lhs) != 1 || len(a.Rhs) != 1 {
				continue
			}
			switch l := a.Lhs[0].(type) {
			case *ast.IndexExpr:
				p.found(s, p.brief(s)+" is left out", p.replace(s, "_ = "+p.text(a.Rhs[0])))
			case *ast.SelectorExpr:
				if c, ok := a.Rhs[0].(*ast.CallExpr); ok && strings.HasPrefix(p.text(c.Fun), "append") ||
					slices.Contains([]string{"poison", "refused", "lost", "owed", "broken", "tried", "held", "durable", "acked"}, l.Sel.Name) && p.text(a.Rhs[0]) != "nil" {
					p.found(s, p.brief(s)+" is left out", p.replace(s, "_ = "+p.text(a.Rhs[0])))
				}
			}
		}
	})
}

var nonceWords = regexp.MustCompile(`[nN]once|\bused\b|\bsigned\b|\bfloor\b`)

func forgetNonce(p *place) {
	if p.s.pkg != "command" && p.s.pkg != "tamiyo" && p.s.pkg != "tolaria" && p.s.pkg != "snippet" {
		return
	}
	p.lists(func(list []ast.Stmt) {
		for _, s := range list {
			if c := p.statementCall(s); c != nil && nonceWords.MatchString(p.text(c.Fun)) {
				p.found(s, p.brief(s)+" is left out", p.replace(s, ""))
			}
		}
	})
	p.guards(func(cond ast.Expr, body []ast.Stmt) {
		if nonceWords.MatchString(p.text(cond)) && len(body) > 0 {
			p.found(cond, p.brief(cond)+" is never so", p.replace(cond, "false && ("+p.text(cond)+")"))
		}
	})
	p.inspect(func(n ast.Node) bool {
		if kv, ok := n.(*ast.KeyValueExpr); ok && strings.EqualFold(p.text(kv.Key), "nonce") {
			p.found(kv, p.brief(kv)+" is empty", p.replace(kv.Value, "nil"))
		}
		return true
	})
}

func negate(p *place) {
	p.inspect(func(n ast.Node) bool {
		i, ok := n.(*ast.IfStmt)
		if !ok || !leaves(i.Body) {
			return true
		}
		if b, ok := i.Cond.(*ast.BinaryExpr); ok && p.text(b.Y) == "nil" && p.isError(b.X) {
			return true
		}
		p.found(i, p.brief(i.Cond)+" is negated", p.replace(i.Cond, "!("+p.text(i.Cond)+")"))
		return true
	})
}

// statements finds calls as statements, whose names match.
func (p *place) statements(names *regexp.Regexp, unlike *regexp.Regexp, what string) {
	p.lists(func(list []ast.Stmt) {
		for _, s := range list {
			c := p.statementCall(s)
			if c != nil && names.MatchString(p.called(c)) && (unlike == nil || !unlike.MatchString(p.text(c.Fun))) {
				p.found(s, p.brief(s)+" "+what, p.replace(s, ""))
			}
		}
	})
}

func dropSend(p *place) { p.statements(sends, nil, "is left out") }

func dropTimer(p *place) { p.statements(timers, nil, "is left out") }

func returnEarly(p *place) {
	if p.body == nil || len(p.body.List) < 2 {
		return
	}
	fn, ok := p.node.(*ast.FuncDecl)
	if !ok {
		return
	}
	result := ""
	switch r := fn.Type.Results; {
	case r == nil:
	case len(r.List) == 1 && len(r.List[0].Names) == 0 && p.text(r.List[0].Type) == "error":
		result = " nil"
	default:
		return
	}
	list := p.body.List
	last := list[len(list)-1]
	if _, ok := last.(*ast.ReturnStmt); ok {
		if last = list[len(list)-2]; p.text(last) == "" {
			return
		}
	}
	// The rest stays, unreached: what it uses is still used.
	p.found(last, "it returns before "+p.brief(last), edit{p.offset(last.Pos()), p.offset(last.Pos()), "if true {\nreturn" + result + "\n}\n"})
}

func staleCache(p *place) {
	p.lists(func(list []ast.Stmt) {
		for _, s := range list {
			if c := p.statementCall(s); c != nil {
				if id, ok := c.Fun.(*ast.Ident); ok && (id.Name == "delete" || id.Name == "clear") || clears.MatchString(p.called(c)) {
					p.found(s, p.brief(s)+" is left out", p.replace(s, ""))
				}
				continue
			}
			a, ok := s.(*ast.AssignStmt)
			if !ok || a.Tok != token.ASSIGN || len(a.Lhs) != len(a.Rhs) {
				continue
			}
			for k, r := range a.Rhs {
				if _, ok := a.Lhs[k].(*ast.SelectorExpr); !ok || !cleared(p, r) {
					continue
				}
				if len(a.Lhs) == 1 {
					p.found(s, p.brief(s)+" is left out", p.replace(s, ""))
				} else {
					p.found(a.Lhs[k], p.brief(a.Lhs[k])+" is not cleared", p.replace(a.Lhs[k], "_"), p.replace(r, typed(p, a.Lhs[k], r)))
				}
			}
		}
	})
}

// cleared says whether an expression is an empty value.
func cleared(p *place, e ast.Expr) bool {
	switch t := p.text(e); {
	case t == "nil" || t == "0" || t == "false" || t == `""`, strings.HasSuffix(t, "[:0]"), strings.HasSuffix(t, "{}"):
		return true
	}
	return false
}

// typed is an empty value that can be assigned to the blank identifier.
func typed(p *place, to, e ast.Expr) string {
	if p.text(e) == "nil" {
		return p.text(to)
	}
	return p.text(e)
}

func wrongConstant(p *place) {
	p.inspect(func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			// Texts are nobody's protocol.
			if strings.HasPrefix(p.text(n.Fun), "fmt.") || strings.HasPrefix(p.text(n.Fun), "errors.") {
				return false
			}
		case *ast.BasicLit:
			tv := p.s.info.Types[n]
			if n.Kind != token.INT || tv.Value == nil || constant.ToInt(tv.Value).Kind() != constant.Int {
				return true
			}
			if v, ok := constant.Int64Val(constant.ToInt(tv.Value)); ok && v > 1 {
				p.found(n, "`"+n.Value+"` is 1", p.replace(n, "1"))
				p.found(n, "`"+n.Value+"` is doubled", p.replace(n, "("+n.Value+"*2)"))
			}
		case *ast.Ident:
			if c, ok := p.s.info.Uses[n].(*types.Const); ok && c.Pkg() == nil && (n.Name == "true" || n.Name == "false") {
				to := map[string]string{"true": "false", "false": "true"}[n.Name]
				p.found(n, fmt.Sprintf("`%s` at byte %d of its line is %s", n.Name, p.s.fset.Position(n.Pos()).Column, to), p.replace(n, to))
			}
		case *ast.SelectorExpr:
			c, ok := p.s.info.Uses[n.Sel].(*types.Const)
			if !ok || c.Pkg() == nil {
				return true
			}
			named, ok := c.Type().(*types.Named)
			if !ok || !strings.Contains(c.Pkg().Path(), "contracts/generated") {
				return true
			}
			if other := sibling(c, named); other != "" {
				p.found(n, p.brief(n)+" is "+other, p.replace(n.Sel, other))
			}
			return false
		}
		return true
	})
}

// sibling is another constant of an enumeration: the next, or else the one
// before.
func sibling(c *types.Const, t *types.Named) string {
	scope := c.Pkg().Scope()
	type item struct {
		name  string
		value int64
	}
	var list []item
	for _, n := range scope.Names() {
		if o, ok := scope.Lookup(n).(*types.Const); ok && types.Identical(o.Type(), t) {
			if v, ok := constant.Int64Val(o.Val()); ok {
				list = append(list, item{n, v})
			}
		}
	}
	slices.SortFunc(list, func(a, b item) int { return int(a.value - b.value) })
	i := slices.IndexFunc(list, func(x item) bool { return x.name == c.Name() })
	switch {
	case i < 0 || len(list) < 2:
		return ""
	case i+1 < len(list):
		return list[i+1].name
	}
	return list[i-1].name
}

func swapArguments(p *place) {
	same := func(a, b ast.Expr) bool {
		ta, tb := p.s.info.Types[a], p.s.info.Types[b]
		return ta.Type != nil && tb.Type != nil && types.Identical(ta.Type, tb.Type) && !ta.IsNil() && !tb.IsNil() && p.text(a) != p.text(b) &&
			(ta.Value == nil || tb.Value == nil)
	}
	swap := func(at ast.Node, a, b ast.Expr) {
		p.found(at, p.brief(a)+" and "+p.brief(b)+" change places", p.replace(a, p.text(b)), p.replace(b, p.text(a)))
	}
	p.inspect(func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			name := p.text(n.Fun)
			if p.called(n) == "" || strings.HasPrefix(name, "fmt.") || name == "max" || name == "min" || strings.HasSuffix(name, "Equal") || strings.HasSuffix(name, "Compare") {
				return true
			}
			for i := 0; i+1 < len(n.Args); i++ {
				if same(n.Args[i], n.Args[i+1]) {
					swap(n, n.Args[i], n.Args[i+1])
				}
			}
		case *ast.AssignStmt:
			for i := 0; i+1 < len(n.Rhs); i++ {
				if same(n.Rhs[i], n.Rhs[i+1]) {
					swap(n, n.Rhs[i], n.Rhs[i+1])
				}
			}
		case *ast.CompositeLit:
			for i := 0; i+1 < len(n.Elts); i++ {
				a, ok := n.Elts[i].(*ast.KeyValueExpr)
				b, also := n.Elts[i+1].(*ast.KeyValueExpr)
				if ok && also && same(a.Value, b.Value) {
					swap(n, a.Value, b.Value)
				}
			}
		}
		return true
	})
}

func lie(p *place) {
	p.lists(func(list []ast.Stmt) {
		for j := 1; j < len(list); j++ {
			c := p.statementCall(list[j])
			if c == nil || !facts.MatchString(p.called(c)) {
				continue
			}
			for i := j - 1; i >= 0; i-- {
				s := list[i]
				action := false
				switch s := s.(type) {
				case *ast.ExprStmt:
					d := p.statementCall(s)
					action = d != nil && effects.MatchString(p.called(d))
				case *ast.IfStmt:
					action = s.Else == nil && (s.Init != nil && p.calls(s.Init, effects) || p.calls(s.Cond, effects))
				case *ast.AssignStmt:
					action = s.Tok == token.ASSIGN && !strings.HasPrefix(p.text(s), "f.") && !strings.HasPrefix(p.text(s), "_") && len(s.Lhs) == 1 && selected(s.Lhs[0])
				}
				if action {
					p.found(s, p.brief(s)+" is left out, and "+p.brief(list[j])+" says it was done", p.replace(s, ""))
					break
				}
			}
		}
	})
}

func selected(e ast.Expr) bool { _, ok := e.(*ast.SelectorExpr); return ok }
