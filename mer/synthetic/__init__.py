"""Synthetic look-alikes of the licensed corpora: painted faces, real folder trees and workbooks.

They let the whole project run and be tested without a licence agreement, and their motion is known.
"""

from mer.synthetic.corpora import generate

__all__ = ["generate"]
