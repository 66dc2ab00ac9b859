"""The widgets of the screens: live ones draw line by line and repaint only the lines that changed."""
