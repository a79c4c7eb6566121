package ftp

import "time"

// engineRest is how long an engine is kept behind the last command that needed it: an idle session is one goroutine, and the engine's own goroutine and
// buffers are more than everything else that it holds.
const engineRest = 10 * time.Second

// engine is the session's, made when it is first needed.
func (c *client) engine() engine {
	c.engUsed = time.Now()
	if c.eng == nil {
		c.eng = newLibEngine(c.tree, c.ctx)
		c.mu.Lock()
		if c.engTimer == nil {
			c.engTimer = time.AfterFunc(c.srv.o.engineRest, c.restEngine)
		} else {
			c.engTimer.Reset(c.srv.o.engineRest)
		}
		c.mu.Unlock()
	}
	return c.eng
}

// restEngine ends an engine that nothing was asked of for a while. While the reader waits for a line and no transfer runs there is no executor, so that
// what is its is nobody's.
func (c *client) restEngine() {
	c.mu.Lock()
	var eng engine
	switch {
	case c.engTimer == nil: // the session ends
	case !c.waiting || c.busy || c.eng != nil && time.Since(c.engUsed) < c.srv.o.engineRest:
		c.engTimer.Reset(c.srv.o.engineRest)
	case c.eng != nil:
		eng, c.eng = c.eng, nil
		c.wg.Add(1)
	}
	c.mu.Unlock()
	if eng != nil {
		eng.close()
		c.wg.Done()
	}
}

// await comes before the reader waits for a line.
func (c *client) await() {
	c.flush()
	c.setWaiting(true)
}

// setWaiting says whether the reader waits for a line.
func (c *client) setWaiting(on bool) {
	c.mu.Lock()
	c.waiting = on
	c.mu.Unlock()
}
